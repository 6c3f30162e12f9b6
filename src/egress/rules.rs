//! The rules for what destinations may reach. In: `[egress] allow` and `deny`, and where Andon's own PostgreSQL is. Out: whether an address
//! may be connected to, or the rule that forbids it. It never resolves a name and never connects.

use std::error::Error;
use std::fmt;
use std::net::IpAddr;

use crate::egress::address;
use crate::egress::item::Item;
use crate::egress::item::shown;

/// The lists of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Rules {
    pub(super) allow: Vec<Item>,
    pub(super) deny: Vec<Item>,
}

/// A destination may not be reached. The text does not say what a name leads to, because the row's writer may not know that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The host, as it stands in the row.
    host: String,
    port: u16,
    /// The address that the row names, if it names no host.
    literal: Option<IpAddr>,
    rule: Rule,
}

/// The rule that forbids an address.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Rule {
    /// Its kind is forbidden to all.
    Never(&'static str),
    /// Andon's own PostgreSQL listens there.
    Own,
    /// This item of `deny` has it.
    Denied(String),
    /// `allow` lists others.
    Unlisted,
}

/// What a row names: an address, or a name in small letters without the dot at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Named {
    Address(IpAddr),
    Name(String),
}

impl Named {
    /// Reads a host. An address may stand in brackets, and in every spelling that a URL knows.
    pub(super) fn of(host: &str) -> Named {
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        if let Ok(address) = bare.parse::<IpAddr>() {
            return Named::Address(address);
        }
        match url::Host::parse(host) {
            Ok(url::Host::Ipv4(address)) => Named::Address(address.into()),
            Ok(url::Host::Ipv6(address)) => Named::Address(address.into()),
            _ => Named::Name(bare.trim_end_matches('.').to_ascii_lowercase()),
        }
    }
}

impl Rules {
    /// Judges an address that `host` names or leads to. `is_own` says that Andon's own PostgreSQL listens there.
    pub(super) fn judge(
        &self,
        host: &str,
        named: &Named,
        address: IpAddr,
        port: u16,
        is_own: bool,
    ) -> Result<(), Refused> {
        let refused = |rule| Refused { host: host.to_owned(), port, literal: literal(named), rule };
        self.rule(named, address, port, is_own).map_or(Ok(()), |rule| Err(refused(rule)))
    }

    /// Judges a name as far as that is possible before it is looked up.
    pub(super) fn judge_name(&self, host: &str, named: &Named, port: u16) -> Result<(), Refused> {
        let Named::Name(name) = named else { return Ok(()) };
        let denying = self.deny.iter().find(|item| item.has_name(name, port));
        denying.map_or(Ok(()), |item| {
            Err(Refused { host: host.to_owned(), port, literal: None, rule: Rule::Denied(item.text.clone()) })
        })
    }

    fn rule(&self, named: &Named, address: IpAddr, port: u16, is_own: bool) -> Option<Rule> {
        let views = address::views(address);
        let connected = views[0];
        let has_name = |item: &Item| matches!(named, Named::Name(name) if item.has_name(name, port));
        let has_view = |item: &Item| views.iter().any(|view| item.has_address(*view, port));
        if let Some(item) = self.deny.iter().find(|item| has_name(item) || has_view(item)) {
            return Some(Rule::Denied(item.text.clone()));
        }
        if is_own && !self.allow.iter().any(|item| item.is_exactly(connected, port)) {
            return Some(Rule::Own);
        }
        if self.allow.iter().any(|item| item.is_exception() && item.has_address(connected, port)) {
            return None;
        }
        if let Some(kind) = address::never(address) {
            return Some(Rule::Never(kind));
        }
        let mut listed = self.allow.iter().filter(|item| !item.is_exception()).peekable();
        let lists = listed.peek().is_some();
        let is_listed = listed.any(|item| has_name(item) || item.has_address(connected, port));
        (lists && !is_listed).then_some(Rule::Unlisted)
    }
}

fn literal(named: &Named) -> Option<IpAddr> {
    match named {
        Named::Address(address) => Some(*address),
        Named::Name(_) => None,
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Refused { host, port, literal, rule } = self;
        let verb = if literal.is_some() { "is" } else { "leads to" };
        let meant = match literal {
            Some(address) => {
                format!("add \"{}:{port}\" to [egress] allow if that is meant", shown(address.to_canonical()))
            }
            None => format!("add its address with port {port} to [egress] allow if that is meant"),
        };
        match rule {
            Rule::Never(kind) => match literal.filter(|address| address::views(*address).len() > 1) {
                Some(_) => write!(f, "{host} stands for {kind}, which no destination may reach; {meant}"),
                None => write!(f, "{host} {verb} {kind}, which no destination may reach; {meant}"),
            },
            Rule::Own => write!(
                f,
                "{host} {verb} an address of Andon's own PostgreSQL, whose port {port} no destination may reach; {meant}"
            ),
            Rule::Denied(item) => {
                write!(f, "{host} port {port} may not be reached, for [egress] deny has it")?;
                // What was found in DNS is nobody's business, so only an item that fits what the row says is shown.
                if literal.is_some() { write!(f, " (`{item}`)") } else { Ok(()) }
            }
            Rule::Unlisted => write!(
                f,
                "{host} port {port} may not be reached, for [egress] allow lists others; add it there if that is meant"
            ),
        }
    }
}

impl Error for Refused {}
