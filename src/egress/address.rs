//! What is known of an address without asking anybody. In: an address. Out: the IPv4 addresses that stand in it, in every way of writing them
//! in IPv6, and the kind of place that it leads to, if that is one which no destination may reach. The kinds follow the registries of
//! special addresses of the IANA, and what clouds serve to their machines. It never resolves a name.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;

const METADATA: &str = "an address of a cloud's metadata";
const RESERVED: &str = "a reserved address";

/// Kinds of IPv4 addresses, each with its network. The first network that has the address says what it is.
const IPV4: [([u8; 4], u8, &str); 18] = [
    ([0, 0, 0, 0], 8, "an unspecified address"),
    ([127, 0, 0, 0], 8, "a loopback address"),
    ([169, 254, 169, 254], 32, METADATA),
    ([169, 254, 0, 0], 16, "a link-local address"),
    ([100, 100, 100, 200], 32, METADATA),
    ([168, 63, 129, 16], 32, METADATA),
    ([192, 0, 0, 192], 32, METADATA),
    ([100, 64, 0, 0], 10, "a shared address of a carrier's network"),
    ([192, 0, 0, 0], 24, RESERVED),
    ([192, 0, 2, 0], 24, "an address for documentation"),
    ([198, 51, 100, 0], 24, "an address for documentation"),
    ([203, 0, 113, 0], 24, "an address for documentation"),
    ([192, 88, 99, 0], 24, RESERVED),
    ([198, 18, 0, 0], 15, "an address for benchmarks"),
    ([233, 252, 0, 0], 24, "an address for documentation"),
    ([224, 0, 0, 0], 4, "a multicast address"),
    ([255, 255, 255, 255], 32, "the broadcast address"),
    ([240, 0, 0, 0], 4, RESERVED),
];

/// Kinds of IPv6 addresses. What is not named here is judged by the space that it lies in.
const IPV6: [([u16; 8], u8, &str); 17] = [
    ([0; 8], 128, "an unspecified address"),
    ([0, 0, 0, 0, 0, 0, 0, 1], 128, "a loopback address"),
    ([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254], 128, METADATA),
    ([0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254], 128, METADATA),
    ([0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42], 128, METADATA),
    ([0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe], 128, METADATA),
    ([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10, "a link-local address"),
    ([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10, "a site-local address"),
    ([0xff00, 0, 0, 0, 0, 0, 0, 0], 8, "a multicast address"),
    ([0x100, 0, 0, 0, 0, 0, 0, 0], 64, "an address that discards"),
    ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32, "an address for documentation"),
    ([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20, "an address for documentation"),
    ([0x2001, 2, 0, 0, 0, 0, 0, 0], 48, "an address for benchmarks"),
    ([0x2001, 0x10, 0, 0, 0, 0, 0, 0], 28, RESERVED),
    ([0x2001, 0x20, 0, 0, 0, 0, 0, 0], 28, RESERVED),
    ([0x2001, 0x30, 0, 0, 0, 0, 0, 0], 28, RESERVED),
    ([0x5f00, 0, 0, 0, 0, 0, 0, 0], 16, RESERVED),
];

/// The spaces of IPv6 that lead anywhere: global addresses, private ones, and both prefixes for IPv4 beyond a translator (NAT64).
const SPACES: [([u16; 8], u8); 4] = [
    ([0x2000, 0, 0, 0, 0, 0, 0, 0], 3),
    ([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7),
    ([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96),
    ([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48),
];

/// Returns what kind of place an address leads to, if that is one which no destination may reach. An address that stands for others is
/// judged by each of them too.
pub(super) fn never(address: IpAddr) -> Option<&'static str> {
    views(address).into_iter().find_map(kind)
}

/// Returns the address as it is connected to, and then each IPv4 address that may stand in it.
pub(super) fn views(address: IpAddr) -> Vec<IpAddr> {
    let address = address.to_canonical();
    let mut views = vec![address];
    if let IpAddr::V6(address) = address {
        views.extend(embedded(address).into_iter().map(IpAddr::V4));
    }
    views
}

/// Returns whether a network has an address. Both are of the same family, and the mapped form counts as IPv4.
pub(super) fn contains(network: IpAddr, prefix: u8, address: IpAddr) -> bool {
    match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            network.to_bits() & mask == address.to_bits() & mask
        }
        (IpAddr::V6(network), IpAddr::V6(address)) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            network.to_bits() & mask == address.to_bits() & mask
        }
        _ => false,
    }
}

fn kind(address: IpAddr) -> Option<&'static str> {
    let has = |network: IpAddr, prefix| contains(network, prefix, address);
    match address {
        IpAddr::V4(_) => IPV4.iter().find(|(network, prefix, _)| has((*network).into(), *prefix)).map(|it| it.2),
        IpAddr::V6(v6) => {
            let named = IPV6.iter().find(|(network, prefix, _)| has((*network).into(), *prefix)).map(|it| it.2);
            // A kind of the IPv4 address within says more than that the form is out of use.
            let within = || embedded(v6).into_iter().find_map(|within| kind(within.into()));
            let is_out = !SPACES.iter().any(|(network, prefix)| has((*network).into(), *prefix));
            named.or_else(|| is_out.then(|| within().unwrap_or(RESERVED)))
        }
    }
}

/// Returns the IPv4 addresses that may stand in an IPv6 address which is not of the mapped form.
fn embedded(address: Ipv6Addr) -> Vec<Ipv4Addr> {
    let (parts, bytes) = (address.segments(), address.octets());
    let at = |places: [usize; 4]| Ipv4Addr::from(places.map(|place| bytes[place]));
    let last = at([12, 13, 14, 15]);
    let mut found = match parts {
        // Compatible, and translated (::ffff:0:a.b.c.d): both are out of use, and some systems still honour them.
        [0, 0, 0, 0, 0, 0, ..] | [0, 0, 0, 0, 0xffff, 0, ..] if address.to_bits() > 1 => vec![last],
        [0x64, 0xff9b, 0, 0, 0, 0, ..] => vec![last],
        // Only the network knows how long its prefix is, so each place counts in which an address may stand.
        [0x64, 0xff9b, 1, ..] => {
            let places = [[6, 7, 9, 10], [7, 9, 10, 11], [9, 10, 11, 12], [12, 13, 14, 15]].map(at);
            let (empty, full): (Vec<_>, Vec<_>) = places.into_iter().partition(|place| place.octets()[0] == 0);
            if full.is_empty() { empty } else { full }
        }
        [0x2002, ..] => vec![at([2, 3, 4, 5])],
        // Teredo: the address of the server, and that of the client with each bit turned over.
        [0x2001, 0, ..] => vec![at([4, 5, 6, 7]), Ipv4Addr::from_bits(!last.to_bits())],
        _ => Vec::new(),
    };
    // ISATAP writes an address into the host's part, below any prefix.
    if matches!(parts[4..6], [0 | 0x200, 0x5efe]) {
        found.push(last);
    }
    found
}

#[cfg(test)]
mod tests;
