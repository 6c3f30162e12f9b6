//! An item of `[egress] allow` or `deny`. In: its text. Out: the network, the address or the name that it means, with its ports, or what is
//! wrong with it and what to write instead. It never resolves a name.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use url::Host;

use crate::egress::address;

/// What an item means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Item {
    /// The item as it was written.
    pub(super) text: String,
    place: Place,
    ports: Option<RangeInclusive<u16>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Network(IpAddr, u8),
    Name(String),
    /// The names below this one.
    Below(String),
}

const EXAMPLES: &str = "write an address, a network or a name, such as `10.0.0.0/8`, `[fd00::1]:8883`, `erp.example:443` or `*.cloud.example`";

impl Item {
    /// Reads an item of either list.
    pub(super) fn parse(text: &str) -> Result<Item, String> {
        let text = text.trim();
        let (place, ports) = split(text);
        let ports = ports.map(|ports| read_ports(text, ports)).transpose()?;
        Ok(Item { text: text.to_owned(), place: read_place(text, place)?, ports })
    }

    /// Reads an item of `allow`, which may not be one that would allow nothing.
    pub(super) fn parse_allowed(text: &str) -> Result<Item, String> {
        let item = Item::parse(text)?;
        match &item.place {
            Place::Name(name) | Place::Below(name) if name == "localhost" || name.ends_with(".localhost") => {
                Err(format!(
                    "`{text}` leads to loopback, which only an address with its port can allow; write it as in `127.0.0.1:1883` or `[::1]:1883`"
                ))
            }
            Place::Network(network, prefix) if item.is_never() && !item.is_exception() => {
                let kind = address::never(*network).unwrap_or_default();
                let (shown, port) = (shown(*network), item.ports.as_ref().map_or(1883, |ports| *ports.start()));
                Err(match is_one(*network, *prefix) {
                    true => format!(
                        "`{text}` is {kind}, which is allowed only with its port; write it as in `{shown}:{port}`"
                    ),
                    false => format!(
                        "`{text}` lies where no destination may reach ({kind}); name each address that is meant, with its port, as in `{shown}:{port}`"
                    ),
                })
            }
            _ => Ok(item),
        }
    }

    /// Returns whether the item names an address that no destination may reach otherwise, so that it lists nothing else.
    pub(super) fn is_exception(&self) -> bool {
        let is_one = matches!(self.place, Place::Network(network, prefix) if is_one(network, prefix));
        is_one && self.ports.is_some() && self.is_never()
    }

    /// Returns whether the item is exactly this address and this port.
    pub(super) fn is_exactly(&self, address: IpAddr, port: u16) -> bool {
        matches!(self.place, Place::Network(network, prefix) if network == address && is_one(network, prefix))
            && self.ports == Some(port..=port)
    }

    /// Returns whether the item has this address and port.
    pub(super) fn has_address(&self, address: IpAddr, port: u16) -> bool {
        let is_place =
            matches!(self.place, Place::Network(network, prefix) if address::contains(network, prefix, address));
        is_place && self.has_port(port)
    }

    /// Returns whether the item has this name, which is in small letters and has no dot at its end, and this port.
    pub(super) fn has_name(&self, name: &str, port: u16) -> bool {
        let is_place = match &self.place {
            Place::Name(own) => own == name,
            Place::Below(parent) => {
                name.strip_suffix(parent.as_str()).is_some_and(|rest| rest.ends_with('.') && rest.len() > 1)
            }
            Place::Network(..) => false,
        };
        is_place && self.has_port(port)
    }

    fn has_port(&self, port: u16) -> bool {
        self.ports.as_ref().is_none_or(|ports| ports.contains(&port))
    }

    /// Returns whether no address of its network may be reached. Below the third bit, no network of IPv4 has such addresses at both ends
    /// and others between them; of IPv6, none has that whose ends are of one kind.
    fn is_never(&self) -> bool {
        let Place::Network(network, prefix) = self.place else { return false };
        let (first, last) = (address::never(network), address::never(last(network, prefix)));
        match network {
            IpAddr::V4(_) => prefix >= 3 && first.is_some() && last.is_some(),
            IpAddr::V6(_) => first.is_some() && first == last,
        }
    }
}

/// Writes an address as it stands before a port.
pub(super) fn shown(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}

fn is_one(network: IpAddr, prefix: u8) -> bool {
    prefix == if network.is_ipv4() { 32 } else { 128 }
}

fn last(network: IpAddr, prefix: u8) -> IpAddr {
    match network {
        IpAddr::V4(first) => {
            IpAddr::V4((first.to_bits() | u32::MAX.checked_shr(u32::from(prefix)).unwrap_or(0)).into())
        }
        IpAddr::V6(first) => {
            IpAddr::V6((first.to_bits() | u128::MAX.checked_shr(u32::from(prefix)).unwrap_or(0)).into())
        }
    }
}

/// Splits an item from its ports. An address of IPv6 has ports only behind brackets.
fn split(text: &str) -> (&str, Option<&str>) {
    if let Some((place, rest)) = text.strip_prefix('[').and_then(|rest| rest.split_once(']'))
        && (rest.is_empty() || rest.starts_with(':'))
    {
        return (place, rest.strip_prefix(':'));
    }
    match text.rsplit_once(':') {
        Some((place, ports)) if !place.contains(':') => (place, Some(ports)),
        _ => (text, None),
    }
}

fn read_ports(text: &str, ports: &str) -> Result<RangeInclusive<u16>, String> {
    let read = |port: &str| {
        let is_number = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        port.parse::<u16>().ok().filter(|port| is_number && *port > 0)
    };
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    match (read(first), read(last)) {
        (Some(first), Some(last)) if first <= last => Ok(first..=last),
        _ => Err(format!("`{text}`: `{ports}` is no port from 1 to 65535 and no range such as `8000-8999`")),
    }
}

fn read_place(text: &str, place: &str) -> Result<Place, String> {
    if let Some((network, prefix)) = place.split_once('/') {
        let is_number = prefix.bytes().all(|byte| byte.is_ascii_digit());
        let parsed = network.parse::<IpAddr>().ok().zip(prefix.parse::<u8>().ok().filter(|_| is_number));
        let longest = |network: &IpAddr| if network.is_ipv4() { 32 } else { 128 };
        let Some((network, prefix)) = parsed.filter(|(network, prefix)| *prefix <= longest(network)) else {
            return Err(format!("`{text}` is no network; {EXAMPLES}"));
        };
        let (network, prefix) = match network.to_canonical() {
            mapped if mapped != network && prefix >= 96 => (mapped, prefix - 96),
            _ => (network, prefix),
        };
        let first = first(network, prefix);
        if first != network {
            return Err(format!("`{text}` begins within its network; write `{first}/{prefix}`, or the address alone"));
        }
        return Ok(Place::Network(network, prefix));
    }
    if let Ok(address) = place.parse::<IpAddr>() {
        let address = address.to_canonical();
        return Ok(Place::Network(address, if address.is_ipv4() { 32 } else { 128 }));
    }
    let name = place.trim_end_matches('.').to_ascii_lowercase();
    let (is_below, bare) = name.strip_prefix("*.").map_or((false, name.as_str()), |bare| (true, bare));
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    if bare.is_empty() || !bare.chars().all(is_name) || bare.split('.').any(str::is_empty) {
        return Err(format!("`{text}` is no address, no network and no name as it stands in DNS; {EXAMPLES}"));
    }
    match Host::parse(bare) {
        Ok(Host::Ipv4(address)) => Err(format!("`{text}` is an odd way to write an address; write `{address}`")),
        Err(_) => Err(format!("`{text}` is no name and no address; {EXAMPLES}")),
        Ok(_) if is_below => Ok(Place::Below(bare.to_owned())),
        Ok(_) => Ok(Place::Name(bare.to_owned())),
    }
}

fn first(network: IpAddr, prefix: u8) -> IpAddr {
    match network {
        IpAddr::V4(it) => IpAddr::V4((it.to_bits() & u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)).into()),
        IpAddr::V6(it) => {
            IpAddr::V6((it.to_bits() & u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0)).into())
        }
    }
}

#[cfg(test)]
mod tests;
