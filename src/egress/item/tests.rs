//! Tests what may be written in the lists.

use super::*;

#[test]
fn networks_addresses_and_names_have_ports_or_none() {
    let at = |text: &str| text.parse::<IpAddr>().unwrap();
    let has = |item: &str, address: &str, port| Item::parse(item).unwrap().has_address(at(address), port);

    assert!(has("10.0.0.0/8", "10.9.8.7", 1) && !has("10.0.0.0/8", "11.0.0.0", 1));
    assert!(has("0.0.0.0/0", "8.8.8.8", 1) && !has("0.0.0.0/0", "2600::1", 1));
    assert!(has("10.0.0.1:443", "10.0.0.1", 443) && !has("10.0.0.1:443", "10.0.0.1", 444));
    assert!(has("10.0.0.0/8:1-9", "10.0.0.1", 9) && !has("10.0.0.0/8:1-9", "10.0.0.1", 10));
    assert!(has("fd00::/8", "fd12::1", 1) && has("[fd00::/8]:443", "fd12::1", 443));
    assert!(has("[fd00::1]:8883", "fd00::1", 8883) && !has("[fd00::1]:8883", "fd00::2", 8883));
    assert!(has("fd00::1", "fd00::1", 7) && has("::ffff:10.0.0.1", "10.0.0.1", 7));
    assert!(has("::ffff:10.0.0.0/104", "10.2.3.4", 7) && has("::/0", "2600::1", 7));
}

#[test]
fn a_name_has_any_case_and_a_dot_at_its_end_or_none() {
    let has = |item: &str, name: &str, port| Item::parse(item).unwrap().has_name(name, port);

    assert!(has("ERP.Example.", "erp.example", 1) && !has("erp.example", "x.erp.example", 1));
    assert!(has("*.cloud.example:443", "a.b.cloud.example", 443) && !has("*.cloud.example:443", "a.cloud.example", 80));
    assert!(!has("*.cloud.example", "cloud.example", 1) && !has("*.cloud.example", "evilcloud.example", 1));
    assert!(!has("*.cloud.example", ".cloud.example", 1));
}

#[test]
fn what_is_wrong_with_an_item_is_said_with_what_to_write() {
    let texts = [
        "",
        "*",
        "*.",
        "a..b",
        "host:0",
        "host:70000",
        "host:9-1",
        "host:+1",
        "host:",
        "10.0.0.0/33",
        "10.0.0.1/8",
        "fd00::1/8",
        "[fd00::1",
        "127.1",
        "0x7f.1:80",
        "https://erp.example",
        "erp.example/path",
        "hörmann.example",
        "a b",
        "*.*.example",
        "10.0.0.0/+8",
    ];

    let problems: Vec<String> = texts.map(|text| Item::parse(text).unwrap_err()).to_vec();

    insta::assert_snapshot!(problems.join("\n"));
}

#[test]
fn an_item_that_would_allow_nothing_is_refused() {
    let texts = [
        "127.0.0.0/8",
        "127.0.0.1",
        "127.0.0.0/8:1883",
        "localhost",
        "localhost:1883",
        "db.localhost",
        "[::1]",
        "::1",
        "169.254.169.254",
        "169.254.0.0/16",
        "fe80::/10",
        "100.64.0.0/10",
        "0.0.0.0:80-",
        "240.0.0.0/4:443",
    ];
    for text in texts {
        assert!(Item::parse_allowed(text).is_err(), "{text}");
    }

    let problems: Vec<String> = ["127.0.0.0/8", "127.0.0.1", "localhost:1883", "::1"]
        .map(|text| Item::parse_allowed(text).unwrap_err())
        .to_vec();
    insta::assert_snapshot!(problems.join("\n"));

    for text in ["127.0.0.1:1883", "[::1]:1-9", "0.0.0.0/0", "::/0", "64:ff9b::/96", "10.0.0.0/8", "169.254.169.254:80"]
    {
        assert!(Item::parse_allowed(text).is_ok(), "{text}");
    }
    assert!(Item::parse_allowed("127.0.0.1:1883").unwrap().is_exception());
    assert!(!Item::parse_allowed("10.0.0.1:1883").unwrap().is_exception());
}
