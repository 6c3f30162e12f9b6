//! Finds destinations that no event can reach. In: the attached mappings, the newest events of the log, and what a destination wants. Out: what
//! is to be said of it, with the nearest name where one was probably meant. A mapping whose tenants or types are computed can make any, so
//! that a doubt is a warning.

use std::collections::BTreeSet;

use tokio_postgres::Client;
use tokio_postgres::Error;

use crate::capture;
use crate::capture::Mapping;
use crate::capture::Types;
use crate::capture::mapping::ChannelEventType;
use crate::capture::mapping::EventType;
use crate::cli::check::lanes::Note;
use crate::cli::check::report::Grade;
use crate::destination::LaneName;
use crate::event::DISABLED;
use crate::nearest::nearest;
use crate::router::EventPattern;
use crate::router::Route;

/// How many ids of the log are looked at, from the newest.
const RECENT_IDS: i64 = 100_000;
/// How many tenants are named.
const NAMED: usize = 5;

/// What there is for a destination to get.
#[derive(Debug, Default)]
pub(super) struct Known {
    has_sources: bool,
    /// The types that the mappings name or the log has.
    types: BTreeSet<String>,
    /// The types of entries that are left out, because the database lacks what they name.
    left_out: BTreeSet<String>,
    /// Whether a type is computed.
    makes_any_type: bool,
    /// The tenants that the mappings name or the log has.
    tenants: BTreeSet<String>,
    /// Whether a tenant is computed.
    makes_any_tenant: bool,
    /// Whether the log has more events than were looked at.
    is_log_longer: bool,
}

impl Known {
    /// Reads the attached mappings and the newest events.
    pub(super) async fn read(client: &mut Client) -> Result<Known, Error> {
        let mut known = Known::default();
        for row in client.query("select name, mapping from andon.sources", &[]).await? {
            // A mapping that cannot be parsed, or no longer fits, is told by the check of the sources.
            if let Ok(mapping) = Mapping::parse(row.get(0), row.get(1)) {
                let is_optional = mapping.captures.iter().any(|it| it.optional.entry || !it.optional.fields.is_empty());
                let checked = if is_optional { capture::check(client, &mapping).await.ok() } else { None };
                known.attached(&mapping, &checked.map(|checked| checked.types).unwrap_or_default());
            }
        }
        let sql = "select distinct tenant, type from andon.events
            where id > (select coalesce(max(id), 0) - $1 from andon.events) and not starts_with(type, 'andon.')";
        let longer = "select coalesce(max(id) - min(id), 0) >= $1 from andon.events";
        known.is_log_longer = client.query_one(longer, &[&RECENT_IDS]).await?.get(0);
        for row in client.query(sql, &[&RECENT_IDS]).await? {
            known.tenants.insert(row.get(0));
            known.types.insert(row.get(1));
        }
        Ok(known)
    }

    fn attached(&mut self, mapping: &Mapping, types: &Types) {
        self.has_sources = true;
        for capture in &mapping.captures {
            if types.leaves_out(capture, "") {
                if let EventType::Literal(name) = &capture.event {
                    self.left_out.insert(name.clone());
                }
                continue;
            }
            match &capture.event {
                EventType::Literal(name) => drop(self.types.insert(name.clone())),
                EventType::Sql(_) => self.makes_any_type = true,
            }
            match capture.tenant.as_ref().map(|tenant| constant(&tenant.sql)) {
                None => drop(self.tenants.insert(String::new())),
                Some(Some(tenant)) => drop(self.tenants.insert(tenant.to_owned())),
                Some(None) => self.makes_any_tenant = true,
            }
        }
        for channel in &mapping.channels {
            match &channel.event {
                ChannelEventType::Literal(name) => drop(self.types.insert(name.clone())),
                ChannelEventType::Path(_) => self.makes_any_type = true,
            }
            match &channel.tenant {
                None => drop(self.tenants.insert(String::new())),
                Some(_) => self.makes_any_tenant = true,
            }
        }
    }

    /// Returns what keeps events from a destination. Without a source, only the applications know what they raise.
    pub(super) fn notes(&self, route: &Route<LaneName>) -> Vec<Note> {
        if !self.has_sources {
            return Vec::new();
        }
        self.tenant(route).into_iter().chain(self.types(&route.events)).collect()
    }

    fn tenant(&self, route: &Route<LaneName>) -> Option<Note> {
        let tenant = route.tenant.0.as_str();
        if route.tenant.is_all() || self.tenants.contains(tenant) {
            return None;
        }
        let others: Vec<String> = self.tenants.iter().take(NAMED).map(|name| format!("`{name}`")).collect();
        let known = if others.is_empty() { String::new() } else { format!("; known are {}", others.join(", ")) };
        Some(match (tenant, self.makes_any_tenant) {
            ("", _) => (
                Grade::Fault,
                format!(
                    "no attached source makes an event of its tenant: its tenant_id is empty, and every event has one{known}; set tenant_id, or `*` for all tenants"
                ),
            ),
            (_, true) if others.is_empty() => return None,
            (_, true) => {
                let none = if self.is_log_longer { "none of the newest events" } else { "no event" };
                (Grade::Warning, format!("{none} of the log is of its tenant `{tenant}`{known}"))
            }
            (_, false) => (Grade::Fault, format!("no attached source makes an event of its tenant `{tenant}`{known}")),
        })
    }

    fn types(&self, patterns: &[EventPattern]) -> Vec<Note> {
        let is_met =
            |pattern: &&EventPattern| pattern.matches(DISABLED) || self.types.iter().any(|name| pattern.matches(name));
        let in_vain: Vec<&EventPattern> = patterns.iter().filter(|pattern| !is_met(pattern)).collect();
        let gets_nothing = in_vain.len() == patterns.len();
        let candidates: BTreeSet<String> = self.types.iter().flat_map(|name| with_stems(name)).collect();
        let note = |pattern: &EventPattern| {
            let text = pattern.to_string();
            let left_out: Vec<&str> =
                self.left_out.iter().filter(|name| pattern.matches(name)).map(String::as_str).collect();
            if !left_out.is_empty() {
                let grade = if gets_nothing { Grade::Fault } else { Grade::Warning };
                let which = left_out.join(", ");
                return (
                    grade,
                    format!(
                        "what `{text}` takes is left out here, because the database lacks what it is made of: {which} (see the source)"
                    ),
                );
            }
            let near = nearest(&text, candidates.iter().map(String::as_str));
            let grade =
                if !self.makes_any_type && (gets_nothing || near.is_some()) { Grade::Fault } else { Grade::Warning };
            let hint = near.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
            let log = if self.is_log_longer { "the log has none among its newest events" } else { "the log has none" };
            (grade, format!("no attached source makes an event that `{text}` takes, and {log}{hint}"))
        };
        in_vain.into_iter().map(note).collect()
    }
}

/// Returns the value of an expression that is a plain literal.
fn constant(sql: &str) -> Option<&str> {
    sql.trim().strip_prefix('\'')?.strip_suffix('\'').filter(|text| !text.contains('\''))
}

/// Returns a type and the patterns that take it: `a.b.c`, `a.b.*` and `a.*`.
fn with_stems(name: &str) -> Vec<String> {
    let dots = name.match_indices('.').map(|(at, _)| format!("{}.*", &name[..at]));
    std::iter::once(name.to_owned()).chain(dots).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::TenantId;

    fn known(tenant: &str, event: &str) -> Known {
        let mapping = format!(
            "[source]\nname = 'mes'\n{tenant}\n[[capture]]\ntable = 'station'\non = 'insert'\n{event}\nentity_type = 'station'\n"
        );
        let mut known = Known::default();
        let mapping = Mapping::parse("mes.toml", &mapping).unwrap_or_else(|problems| panic!("{problems}"));
        known.attached(&mapping, &Types::default());
        known
    }

    fn notes(known: &Known, tenant: &str, events: &[&str]) -> Vec<Note> {
        let events = events.iter().map(|text| EventPattern::parse(text).unwrap()).collect();
        known.notes(&Route { tenant: TenantId(tenant.to_owned()), events, lane: LaneName("lane".to_owned()) })
    }

    #[test]
    fn a_destination_of_a_tenant_that_nobody_makes_is_named() {
        let event = "type = 'station.down'";
        let without = known("", event);
        let with = known("tenant = 'new.tenant_id'", event);
        let fixed = known("tenant = \"'acme'\"", event);

        assert_eq!(
            (notes(&without, "", &["*"]), notes(&with, "*", &["*"]), notes(&fixed, "acme", &["*"])),
            (vec![], vec![], vec![])
        );
        assert_eq!(notes(&without, "acme", &["*"])[0].0, Grade::Fault);
        assert!(notes(&with, "", &["*"])[0].1.contains("no attached source makes an event of its tenant"));
        assert_eq!(notes(&with, "acme", &["*"]), vec![], "it may make its first one tomorrow");
        let mut seen = known("tenant = 'new.tenant_id'", event);
        seen.tenants.insert("bolt".to_owned());
        let (grade, text) = notes(&seen, "acme", &["*"]).remove(0);
        assert!(grade == Grade::Warning && text.starts_with("no event of the log is of its tenant `acme`"), "{text}");
        seen.is_log_longer = true;
        let text = notes(&seen, "acme", &["*"]).remove(0).1;
        assert!(text.starts_with("none of the newest events of the log is of its tenant `acme`"), "{text}");
        assert_eq!(notes(&Known::default(), "acme", &["statoin.*"]), vec![], "nothing is known without a source");
    }

    #[test]
    fn a_pattern_that_takes_nothing_is_named_with_the_nearest() {
        let fixed = known("", "type = 'station.down'");
        let computed = known("", "type_sql = \"'station.' || new.state\"");

        assert_eq!(notes(&fixed, "", &["station.*", "station.down", "andon.*"]), vec![]);
        let (grade, text) = notes(&fixed, "", &["station.down", "statoin.*"]).remove(0);
        assert!(grade == Grade::Fault && text.ends_with("did you mean `station.*`?"), "{text}");
        assert_eq!(notes(&fixed, "", &["shift.handover"])[0].0, Grade::Fault, "it gets nothing at all");
        assert_eq!(notes(&fixed, "", &["station.*", "shift.handover"])[0].0, Grade::Warning);
        assert_eq!(notes(&computed, "", &["station.up"])[0].0, Grade::Warning);
    }
}
