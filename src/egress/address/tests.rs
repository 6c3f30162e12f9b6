//! Tests what is known of addresses. Nothing is connected to.

use proptest::prelude::*;

use super::*;

fn at(text: &str) -> IpAddr {
    text.parse().unwrap_or_else(|_| panic!("{text} is no address"))
}

#[test]
fn each_special_address_is_of_a_kind_that_nobody_may_reach() {
    let cases = [
        ("0.0.0.0", "unspecified"),
        ("0.1.2.3", "unspecified"),
        ("127.0.0.1", "loopback"),
        ("127.255.255.255", "loopback"),
        ("169.254.0.1", "link-local"),
        ("169.254.169.254", "metadata"),
        ("169.254.170.2", "link-local"),
        ("100.100.100.200", "metadata"),
        ("168.63.129.16", "metadata"),
        ("192.0.0.192", "metadata"),
        ("100.64.0.0", "carrier"),
        ("100.127.255.255", "carrier"),
        ("192.0.0.1", "reserved"),
        ("192.0.2.1", "documentation"),
        ("198.51.100.7", "documentation"),
        ("203.0.113.9", "documentation"),
        ("192.88.99.1", "reserved"),
        ("198.18.0.1", "benchmarks"),
        ("198.19.255.255", "benchmarks"),
        ("224.0.0.1", "multicast"),
        ("239.255.255.255", "multicast"),
        ("233.252.0.1", "documentation"),
        ("240.0.0.1", "reserved"),
        ("255.255.255.254", "reserved"),
        ("255.255.255.255", "broadcast"),
        ("::", "unspecified"),
        ("::1", "loopback"),
        ("::2", "unspecified"),
        ("::127.0.0.1", "loopback"),
        ("::169.254.169.254", "metadata"),
        ("::10.0.0.1", "reserved"),
        ("::ffff:127.0.0.1", "loopback"),
        ("::ffff:7f00:1", "loopback"),
        ("::ffff:0.0.0.0", "unspecified"),
        ("::ffff:169.254.169.254", "metadata"),
        ("::ffff:100.64.0.1", "carrier"),
        ("::ffff:255.255.255.255", "broadcast"),
        ("::ffff:0:127.0.0.1", "loopback"),
        ("::ffff:0:8.8.8.8", "reserved"),
        ("64:ff9b::127.0.0.1", "loopback"),
        ("64:ff9b::169.254.169.254", "metadata"),
        ("64:ff9b::", "unspecified"),
        ("64:ff9b::100.64.0.1", "carrier"),
        ("64:ff9b:1::127.0.0.1", "loopback"),
        ("64:ff9b:1:7f00:0:100::", "loopback"),
        ("64:ff9b:1:7f:0:1::", "loopback"),
        ("64:ff9b:1:0:7f:0:100:0", "loopback"),
        ("64:ff9b:1:a9fe:a9:fe00::", "metadata"),
        ("64:ff9b:1::", "unspecified"),
        ("64:ff9b:2::1", "reserved"),
        ("2002:7f00:1::", "loopback"),
        ("2002:a9fe:a9fe::1", "metadata"),
        ("2002:6440:1::", "carrier"),
        ("2002:0:0::", "unspecified"),
        ("2001:0:7f00:1::", "loopback"),
        ("2001:0:808:808::80ff:fffe", "loopback"),
        ("2001::5601:5601", "unspecified"),
        ("2001:0:808:808:0:0:5601:5601", "metadata"),
        ("2001:db8::1", "documentation"),
        ("3fff::1", "documentation"),
        ("3fff:fff::1", "documentation"),
        ("2001:2::1", "benchmarks"),
        ("2001:10::1", "reserved"),
        ("2001:20::1", "reserved"),
        ("100::1", "discards"),
        ("100:0:0:1::1", "reserved"),
        ("5f00::1", "reserved"),
        ("fe80::1", "link-local"),
        ("febf:ffff::1", "link-local"),
        ("fec0::1", "site-local"),
        ("feff::1", "site-local"),
        ("fe00::1", "reserved"),
        ("ff02::1", "multicast"),
        ("ff0e::1", "multicast"),
        ("fd00:ec2::254", "metadata"),
        ("fd20:ce::254", "metadata"),
        ("4000::1", "reserved"),
        ("8000::1", "reserved"),
        ("1::1", "reserved"),
        ("2600::5efe:127.0.0.1", "loopback"),
        ("fd00::200:5efe:169.254.169.254", "metadata"),
    ];
    for (text, kind) in cases {
        assert!(never(at(text)).is_some_and(|found| found.contains(kind)), "{text}: {:?}", never(at(text)));
    }
    assert!(cases.len() > 80);
}

#[test]
fn public_and_private_addresses_may_be_reached() {
    let cases = [
        "1.1.1.1",
        "8.8.8.8",
        "9.255.255.255",
        "10.0.0.1",
        "10.255.255.255",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.1",
        "169.253.255.255",
        "169.255.0.0",
        "172.16.0.1",
        "172.31.255.255",
        "172.32.0.1",
        "192.0.1.1",
        "192.0.3.1",
        "192.168.0.1",
        "192.168.255.255",
        "198.17.255.255",
        "198.20.0.0",
        "198.51.99.1",
        "203.0.112.1",
        "223.255.255.255",
        "::ffff:8.8.8.8",
        "::ffff:10.1.2.3",
        "64:ff9b::8.8.8.8",
        "64:ff9b::10.1.2.3",
        "64:ff9b:1::8.8.8.8",
        "64:ff9b:1:808:8:800::",
        "64:ff9b:1:a00:0:100::",
        "2002:808:808::1",
        "2001:0:808:808:0:0:f7f7:f7f7",
        "2001:4860:4860::8888",
        "2600::1",
        "2a00:1450::1",
        "3ffe::1",
        "fc00::1",
        "fd00::1",
        "fdff:ffff::1",
        "2600::5efe:8.8.8.8",
    ];
    for text in cases {
        assert_eq!(never(at(text)), None, "{text}");
    }
}

proptest! {
    #[test]
    fn what_no_destination_may_reach_is_not_reached_in_another_form(row in 0..IPV4.len(), host in any::<u32>()) {
        let (network, prefix, _) = IPV4[row];
        let mask = u32::MAX.checked_shr(u32::from(prefix)).unwrap_or(0);
        let inner = Ipv4Addr::from_bits(u32::from_be_bytes(network) | host & mask);
        let bits = inner.to_bits();
        let [a, b, c, d] = inner.octets().map(u128::from);
        let forms = [
            0xffff_0000_0000 | u128::from(bits),
            u128::from(bits),
            0xffff_0000_0000_0000 | u128::from(bits),
            0x64_ff9b << 96 | u128::from(bits),
            0x64_ff9b_0001 << 80 | u128::from(bits),
            0x64_ff9b_0001 << 80 | a << 72 | b << 64 | c << 48 | d << 40,
            0x64_ff9b_0001 << 80 | a << 64 | b << 48 | c << 40 | d << 32,
            0x64_ff9b_0001 << 80 | a << 48 | b << 40 | c << 32 | d << 24,
            0x2002 << 112 | u128::from(bits) << 80,
            0x2001 << 112 | u128::from(bits) << 64 | 0xf7f7_f7f7,
            0x2001 << 112 | 0x0808_0808 << 64 | u128::from(!bits),
            0x2600 << 112 | 0x5efe << 32 | u128::from(bits),
        ];
        prop_assert!(never(inner.into()).is_some());
        for (place, form) in forms.into_iter().enumerate() {
            // Behind a prefix of unknown length, nobody can tell the zeros of 0.x.x.x from the end of the prefix.
            if row == 0 && (4..8).contains(&place) {
                continue;
            }
            let form = IpAddr::V6(Ipv6Addr::from_bits(form));
            prop_assert!(never(form).is_some(), "{inner} as {form}");
        }
    }

    #[test]
    fn any_address_is_judged_and_only_known_spaces_lead_out(bits in any::<u128>()) {
        let address = Ipv6Addr::from_bits(bits);
        if never(address.into()).is_none() {
            let first = address.segments()[0];
            let mapped = address.to_ipv4_mapped().is_some();
            prop_assert!(mapped || first == 0x64 || (0x2000..0x4000).contains(&first) || first >> 9 == 0xfc00 >> 9);
        }
    }
}
