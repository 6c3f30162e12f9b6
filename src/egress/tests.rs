//! Tests what may be reached, with a resolver of their own. Nothing here connects.

use std::net::IpAddr;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use super::*;

fn items(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn egress(allow: &[&str], deny: &[&str]) -> Egress {
    Egress::default().allow(&items(allow)).unwrap().deny(&items(deny)).unwrap()
}

#[test]
fn every_spelling_of_a_forbidden_address_is_one() {
    let spellings = [
        "127.0.0.1",
        "127.1",
        "127.0.1",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "017700000001",
        "127.0.0.1.",
        "0",
        "0.0",
        "0x0",
        "①②⑦.⓪.⓪.①",
        "１２７.０.０.１",
        "127。0。0。1",
        "[::1]",
        "::1",
        "[::]",
        "[::ffff:127.0.0.1]",
        "::ffff:7f00:1",
        "[::ffff:0:127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "0xa9fea9fe",
        "2852039166",
        "169.254.43518",
        "0251.0376.0251.0376",
        "[fe80::1]",
        "[fd00:ec2::254]",
        "%31%32%37.0.0.1",
        "0X7F.0x0.0.0x1",
        "4294967295",
        "127.000000.0.1",
        "[0:0:0:0:0:0:0:1]",
        "[::127.0.0.1]",
    ];
    for text in spellings {
        let refused = Egress::default().judge(text, 80);
        assert!(refused.is_err(), "{text} may be reached");
    }
    for text in ["erp.example", "10.0.0.1", "8.8.8.8", "[fd00::1]", "localhost.example", "1.1"] {
        assert_eq!(Egress::default().judge(text, 80), Ok(()), "{text}");
    }
}

#[test]
fn the_reason_says_which_rule_it_was_and_what_to_do() {
    let egress = egress(&["10.0.0.0/8"], &["10.6.6.6", "*.bad.example"]).guard([("10.0.0.5".to_owned(), 5432)]);
    let reasons: Vec<String> = [
        ("127.0.0.1", 8080),
        ("::1", 1883),
        ("[::ffff:127.0.0.1]", 80),
        ("[64:ff9b::7f00:1]", 80),
        ("10.6.6.6", 443),
        ("x.bad.example", 443),
        ("8.8.8.8", 443),
        ("10.0.0.5", 5432),
    ]
    .map(|(host, port)| egress.judge(host, port).unwrap_err().to_string())
    .to_vec();

    insta::assert_snapshot!(reasons.join("\n"));
    assert_eq!(egress.judge("10.0.0.5", 443), Ok(()));
}

#[test]
fn a_broker_on_the_same_host_is_named_and_nothing_else_is_shut_out() {
    let egress = egress(&["127.0.0.1:1883", "[::1]:20000-29999"], &[]);

    for (host, port) in
        [("127.0.0.1", 1883), ("::ffff:127.0.0.1", 1883), ("::1", 20000), ("8.8.8.8", 443), ("10.0.0.1", 1)]
    {
        assert_eq!(egress.judge(host, port), Ok(()), "{host}");
    }
    for (host, port) in [("127.0.0.1", 1884), ("127.0.0.2", 1883), ("::1", 19999), ("64:ff9b::7f00:1", 1883)] {
        assert!(egress.judge(host, port).is_err(), "{host}");
    }
}

#[test]
fn what_allow_lists_is_all_and_deny_wins() {
    let egress = egress(&["10.0.0.0/8:443", "127.0.0.1:80"], &["10.1.0.0/16", "127.0.0.1"]);

    assert_eq!(egress.judge("10.0.0.1", 443), Ok(()));
    for (host, port) in
        [("10.0.0.1", 80), ("10.1.0.1", 443), ("8.8.8.8", 443), ("127.0.0.1", 80), ("64:ff9b::10.1.0.1", 443)]
    {
        assert!(egress.judge(host, port).is_err(), "{host}");
    }
}

#[test]
fn the_database_is_reached_only_where_its_very_port_is_named() {
    let guarded = |allow: &[&str]| egress(allow, &[]).guard([("127.0.0.1".to_owned(), 5432)]);

    assert!(guarded(&["127.0.0.1:1-65535"]).judge("127.0.0.1", 5432).is_err());
    assert!(guarded(&["127.0.0.1:1-65535"]).judge("127.0.0.1", 5433).is_ok());
    assert!(guarded(&["127.0.0.1:5432"]).judge("127.0.0.1", 5432).is_ok());
}

#[test]
fn all_bad_items_are_told_at_once() {
    let error = Egress::default().allow(&items(&["127.1", "10.0.0.0/8", "localhost"])).unwrap_err();

    assert!(error.contains("127.1") && error.contains("localhost") && !error.contains("10.0.0.0/8"), "{error}");
}

/// Answers as the names say.
fn resolver(name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let addresses: &[&str] = match name {
        "good.example" | "erp.cloud.example" => &["8.8.8.8", "10.0.0.1"],
        "mixed.example" => &["127.0.0.1", "8.8.8.8", "::1", "64:ff9b::7f00:1", "fd00::1"],
        "inside.example" | "localhost" => &["127.0.0.1", "::1"],
        "wrapped.example" => &["::ffff:127.0.0.1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::"],
        "db.example" | "alias.example" => &["10.0.0.5"],
        "translated.example" => &["64:ff9b::10.0.0.5", "64:ff9b:1::10.0.0.5", "2002:a00:5::1", "2600::5efe:10.0.0.5"],
        "none.example" => &[],
        _ => return Err(io::Error::other("unknown")),
    };
    let at = |text: &&str| SocketAddr::new(text.parse::<IpAddr>().unwrap(), port);
    Ok(addresses.iter().map(at).collect())
}

/// Answers with a public address first, and from then on with loopback.
fn rebinding(_: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    let address = if ASKED.fetch_add(1, Ordering::SeqCst) == 0 { [8, 8, 8, 8] } else { [127, 0, 0, 1] };
    Ok(vec![SocketAddr::from((address, port))])
}

async fn found(egress: &Egress, host: &str, port: u16) -> Result<Vec<String>, String> {
    let found = egress.dialer_by(resolver).addresses(host, port).await;
    found.map(|all| all.iter().map(ToString::to_string).collect()).map_err(|error| error.to_string())
}

#[tokio::test]
async fn each_address_that_a_name_leads_to_is_judged() {
    let open = Egress::default();

    assert_eq!(found(&open, "good.example", 443).await.unwrap(), ["8.8.8.8:443", "10.0.0.1:443"]);
    assert_eq!(found(&open, "mixed.example", 443).await.unwrap(), ["8.8.8.8:443", "[fd00::1]:443"]);
    for name in ["inside.example", "localhost", "wrapped.example"] {
        let reason = found(&open, name, 80).await.unwrap_err();
        assert!(reason.contains(" leads to a") && !reason.contains("127.0.0.1"), "{reason}");
    }
    let exact = egress(&["127.0.0.1:80"], &[]);
    assert_eq!(found(&exact, "localhost", 80).await.unwrap(), ["127.0.0.1:80"]);
    assert_eq!(
        found(&open, "none.example", 80).await.unwrap_err(),
        "the name has no address; see whether it is written right"
    );
}

#[tokio::test]
async fn the_lists_know_names_and_what_they_lead_to() {
    let listed = egress(&["*.cloud.example:443", "fd00::/8"], &["10.0.0.1"]);

    assert_eq!(found(&listed, "ERP.Cloud.Example.", 443).await, Err("unknown".to_owned()));
    assert_eq!(found(&listed, "erp.cloud.example", 443).await.unwrap(), ["8.8.8.8:443"]);
    assert_eq!(found(&listed, "mixed.example", 443).await.unwrap(), ["[fd00::1]:443"]);
    let reason = found(&listed, "good.example", 443).await.unwrap_err();
    assert!(reason.contains("may not be reached") && !reason.contains("8.8.8.8"), "{reason}");
}

#[tokio::test]
async fn another_name_of_the_database_leads_nowhere() {
    let guarded = Egress::default().guard([("db.example".to_owned(), 5432)]);

    for host in ["db.example", "alias.example", "10.0.0.5", "::ffff:10.0.0.5", "167772165", "translated.example"] {
        let reason = found(&guarded, host, 5432).await.unwrap_err();
        assert!(reason.contains("Andon's own PostgreSQL"), "{reason}");
    }
    assert_eq!(found(&guarded, "alias.example", 443).await.unwrap(), ["10.0.0.5:443"]);
}

#[tokio::test]
async fn a_name_that_leads_elsewhere_the_second_time_is_judged_a_second_time() {
    let dialer = Egress::default().dialer_by(rebinding);

    // What is judged here is what is connected to: the addresses of one lookup.
    assert_eq!(dialer.addresses("rebind.example", 80).await.unwrap(), ["8.8.8.8:80".parse().unwrap()]);
    let refused = dialer.connect("rebind.example", 80).await.unwrap_err();

    assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
    assert!(refused.get_ref().unwrap().is::<Refused>());
}

#[tokio::test]
async fn a_database_on_this_machine_is_guarded_at_all_addresses_of_the_machine() {
    for own in ["127.0.0.1", "localhost", "::1"] {
        let guarded = egress(&["127.0.0.1:5000-6000", "127.0.0.9:5000-6000"], &[]).guard([(own.to_owned(), 5432)]);

        for host in ["127.0.0.1", "127.0.0.9"] {
            let reason = guarded.judge(host, 5432).unwrap_err().to_string();
            assert!(reason.contains("Andon's own PostgreSQL"), "{own} {host}: {reason}");
            assert_eq!(guarded.judge(host, 5433), Ok(()), "{own} {host}");
        }
        assert_eq!(found(&guarded, "good.example", 5432).await.unwrap(), ["8.8.8.8:5432", "10.0.0.1:5432"]);
    }
    let elsewhere = egress(&["127.0.0.9:5000-6000"], &[]).guard([("10.0.0.5".to_owned(), 5432)]);
    assert_eq!(elsewhere.judge("127.0.0.9", 5432), Ok(()));
}

#[tokio::test]
async fn nothing_is_reached_at_the_port_of_a_database_that_nobody_can_find() {
    let guarded = Egress::default().guard([("gone.example".to_owned(), 5432)]);

    let reason = found(&guarded, "good.example", 5432).await.unwrap_err();

    assert!(reason.contains("whose name cannot be looked up now") && !reason.contains("gone.example"), "{reason}");
    assert_eq!(found(&guarded, "good.example", 443).await.unwrap().len(), 2);
}

#[test]
fn a_zone_and_a_dot_do_not_make_a_name_of_what_may_not_be_reached() {
    let denied = egress(&[], &["bad.example", "*.worse.example:443", "10.0.0.0/8"]);

    for (host, port) in [
        ("bad.example", 80),
        ("BAD.example.", 80),
        ("bad.example..", 80),
        ("a.worse.example", 443),
        ("10.1.2.3.", 80),
        ("0x0a010203", 80),
        ("[::ffff:10.1.2.3]", 80),
        ("[64:ff9b::10.1.2.3]", 80),
        ("[2002:a01:203::1]", 80),
        ("[::1%25lo]", 80),
    ] {
        let is_judged_later = host.contains('%');
        assert_eq!(denied.judge(host, port).is_err(), !is_judged_later, "{host}");
    }
}
