//! Tests of reading a destination's row: what people write, and what nobody should.

use proptest::prelude::*;
use serde_json::Value;
use serde_json::json;

use super::*;

/// Reads a row that is active.
fn active(kind: DestinationKind, table: &str, profile: Format, row: &Value) -> DestinationRow {
    let key = row["id"].as_str().unwrap_or("1");
    let json = row.to_string();
    match read(kind, table, profile, TableRow { key, json: Ok(&json) }, &Defaults::default()) {
        Listed::Active(listed) => *listed,
        Listed::Inactive(lane) => panic!("{lane} is not active"),
    }
}

fn problems(kind: DestinationKind, row: &Value) -> Vec<String> {
    active(kind, "andon.x", Format::Andon, row).usable.unwrap_err()
}

#[test]
fn every_problem_of_a_webhook_is_reported_at_once() {
    let row = json!({"id": 1, "tenant_id": 7, "url": "ftp://erp", "secret_key": "", "events": ["job.#"],
        "settings": {"timeout": "soon", "timout": "5s", "order": "fifo"}});

    insta::assert_snapshot!(problems(DestinationKind::Webhook, &row).join("\n"), @r"
    webhook `ftp://erp#1`: event pattern `job.#` is none of `job.created`, `job.*` and `*`
    webhook `ftp://erp#1`: url `ftp://erp`: cannot speak `ftp`; use https://host/path
    webhook `ftp://erp#1`: secret_key is empty; set one or deactivate the webhook
    webhook `ftp://erp#1`: settings.timeout: `soon` is not a duration from 1ms to 60s (webhook.max_timeout)
    webhook `ftp://erp#1`: settings.order: `fifo` is not one of entity, strict, none
    webhook `ftp://erp#1`: settings.timout is unknown; did you mean `timeout`?
    ");
}

#[test]
fn a_broker_has_the_port_of_its_row_or_that_of_its_protocol() {
    let port = |url: &str, columns: Value| {
        let mut row = json!({"id": 1, "name": "plant", "broker_url": url, "events": ["*"]});
        row.as_object_mut().unwrap().extend(columns.as_object().unwrap().clone());
        match active(DestinationKind::Mqtt, "andon.x", Format::Andon, &row).usable.unwrap().target {
            Target::Mqtt(publisher) => (publisher.port, publisher.tls, publisher.alpn),
            Target::Webhook(_) => unreachable!("it is a publisher"),
        }
    };

    assert_eq!(port("mqtts://broker", json!({})), (8883, true, None));
    assert_eq!(port("broker", json!({"use_tls": true, "port": null})), (8883, true, None));
    assert_eq!(port("mqtt://broker", json!({})), (1883, false, None));
    assert_eq!(port("mqtts://broker", json!({"port": 443})), (443, true, None));
    let named = json!({"port": 8883, "settings": {"alpn": "x-amzn-mqtt-ca"}});
    assert_eq!(port("mqtts://broker:443", named), (443, true, Some("x-amzn-mqtt-ca".to_owned())));
    let row = json!({"id": 1, "broker_url": "broker", "events": ["*"], "name": "p", "settings": {"alpn": "mq tt"}});
    let wanted = "settings.alpn: `mq tt` is not the name of a protocol, such as mqtt or x-amzn-mqtt-ca";
    assert_eq!(problems(DestinationKind::Mqtt, &row), [format!("mqtt publisher `p`: {wanted}")]);
    let row = json!({"id": 1, "broker_url": "broker", "events": ["*"], "name": "p", "settings": {"alpn": "mqtt"}});
    assert!(problems(DestinationKind::Mqtt, &row)[0].contains("only TLS can name a protocol; use mqtts://"));
}

#[test]
fn a_tenant_with_a_blank_at_an_end_is_another_tenant_and_a_fault_of_its_row() {
    for odd in ["acme ", " acme", "acme\t", "acme\u{a0}", "acme\u{200b}", "\u{feff}acme", "acme\u{7f}", " "] {
        let row = json!({"id": 1, "tenant_id": odd, "url": "https://erp", "secret_key": "secret", "events": ["*"]});

        let problems = problems(DestinationKind::Webhook, &row);

        assert!(problems.len() == 1 && problems[0].contains("has a blank at an end"), "{odd:?}: {problems:?}");
    }
}

#[test]
fn only_a_table_that_tenants_do_not_write_may_ask_for_the_events_of_all_of_them() {
    let row = json!({"id": 1, "tenant_id": "*", "url": "https://erp", "secret_key": "secret", "events": ["*"]});
    let read = |table| active(DestinationKind::Webhook, table, Format::Andon, &row).usable;

    assert!(read("andon.webhooks").unwrap().route.tenant.is_all());
    for table in ["public.webhooks", "andon.webhooks2", "webhooks"] {
        let problems = read(table).unwrap_err();
        assert!(problems[0].contains("only a row of andon.mqtt_publishers or andon.webhooks may ask"), "{problems:?}");
    }
}

#[test]
fn the_lane_of_a_replay_has_a_name_of_its_own_and_leaves_most_of_the_capacity_to_the_live_lane() {
    let row = json!({"id": "a1", "name": "plant", "broker_url": "mqtt://broker", "topic_pattern": "{event}", "events": ["*"],
        "settings": {"client_id": "gw", "window": 256}});
    let replay = Replay { id: 7, first: 1, last: 9, events: Vec::new() };

    let listed = active(DestinationKind::Mqtt, "andon.x", Format::Andon, &row).for_replay(replay);

    assert_eq!((listed.lane.0.as_str(), listed.lane.key()), ("andon.x/a1~replay/7", "a1"));
    assert_eq!(listed.name, "plant (replay 7)");
    let Target::Mqtt(publisher) = listed.usable.unwrap().target else { panic!("a publisher") };
    assert_eq!((publisher.window, publisher.client_id.as_deref()), (32, Some("gw-replay-7")));
}

#[test]
fn every_problem_of_a_publisher_is_reported_at_once() {
    let row = json!({"id": 1, "name": "plant", "broker_url": "http://broker", "port": 70000,
        "topic_pattern": "{site}/#/{cel}", "events": null, "settings": {"naming": "ASCII", "window": 0, "order": "fifo"}});

    insta::assert_snapshot!(problems(DestinationKind::Mqtt, &row).join("\n"), @r"
    mqtt publisher `plant`: events is empty; name event types such as `job.created` or `job.*`, or `*` for all
    mqtt publisher `plant`: broker_url `http://broker`: cannot speak `http`; use mqtt://host or mqtts://host
    mqtt publisher `plant`: port 70000 is not between 1 and 65535
    mqtt publisher `plant`: topic_pattern `{site}/#/{cel}`, column 8: `#` is a wildcard, and one cannot publish to a wildcard; remove it
    mqtt publisher `plant`: topic_pattern `{site}/#/{cel}`, column 10: unknown placeholder `{cel}`; did you mean `{cell}`?
    mqtt publisher `plant`: settings.naming: `ASCII` is not one of ascii, verbatim, eryxon
    mqtt publisher `plant`: settings.window: `0` is not a number from 1 to 1000
    mqtt publisher `plant`: settings.order: `fifo` is not one of entity, strict, none
    ");
}

#[test]
fn a_row_of_the_seed_is_read_and_its_bookkeeping_changes_nothing() {
    let mut row = json!({"id": "a1", "tenant_id": "t1", "name": "plant", "broker_url": "mqtts://broker.plant", "port": 8883,
        "username": "u", "password": "p", "use_tls": false, "topic_pattern": "{site}/{event}", "events": ["*"],
        "active": true, "default_site": "chicago", "last_connected_at": null, "created_by": null});
    let listed = active(DestinationKind::Mqtt, "public.mqtt_publishers", Format::Eryxon, &row);
    row["last_connected_at"] = json!("2026-11-20T10:00:00Z");
    let later = active(DestinationKind::Mqtt, "public.mqtt_publishers", Format::Eryxon, &row);
    row["port"] = json!(8884);
    let changed = active(DestinationKind::Mqtt, "public.mqtt_publishers", Format::Eryxon, &row);

    let Target::Mqtt(publisher) = listed.usable.unwrap().target else { panic!("a publisher") };
    assert!(publisher.tls, "mqtts:// asks for TLS");
    assert_eq!((publisher.host.as_str(), publisher.port), ("broker.plant", 8883));
    assert_eq!(listed.lane.to_string(), "public.mqtt_publishers/a1");
    assert_eq!(listed.fingerprint, later.fingerprint);
    assert_ne!(listed.fingerprint, changed.fingerprint);
    row["active"] = json!(false);
    let json = row.to_string();
    let row = TableRow { key: "a1", json: Ok(&json) };
    let listed = read(DestinationKind::Mqtt, "t", Format::Eryxon, row, &Defaults::default());
    assert!(matches!(listed, Listed::Inactive(lane) if lane.0 == "t/a1"));
}

#[test]
fn a_row_without_json_and_a_key_without_end_still_have_a_lane() {
    let key = "k".repeat(5000);
    let row = TableRow { key: &key, json: Err("the row is larger than 1 MiB") };

    let Listed::Active(listed) = read(DestinationKind::Webhook, "t", Format::Andon, row, &Defaults::default()) else {
        panic!("it is active")
    };

    assert!(listed.lane.is_of_table("t") && listed.lane.0.len() < 100, "{}", listed.lane);
    let reasons = listed.usable.unwrap_err();
    assert_eq!(reasons.len(), 1, "nothing is said of what was not read: {reasons:?}");
    assert!(reasons[0].ends_with("the row is larger than 1 MiB"));
}

/// Any JSON value, odd ones above all.
fn hostile() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("null".to_owned()),
        Just("1e400".to_owned()),
        Just("-0".to_owned()),
        Just("290000000000000".to_owned()),
        Just("[[],{},null,1,\"*\"]".to_owned()),
        Just(format!("{}{}", "[".repeat(300), "]".repeat(300))),
        Just("\"290000000000000ms\"".to_owned()),
        Just("[\"290000000000000ms\"]".to_owned()),
        Just("\"-009000-01-01T00:00:00Z\"".to_owned()),
        Just(format!("\"{}\"", "x".repeat(70_000))),
        any::<bool>().prop_map(|flag| flag.to_string()),
        any::<f64>().prop_filter("JSON has no such number", |number| number.is_finite()).prop_map(|it| it.to_string()),
        "\\PC{0,20}".prop_map(|text| Value::String(text).to_string()),
        prop::collection::vec("\\PC{0,8}", 0..4).prop_map(|texts| json!(texts).to_string()),
    ]
}

proptest! {
    #[test]
    fn whatever_stands_in_a_row_is_its_lane_s_state(
        columns in prop::collection::btree_map(prop::sample::select(vec![
            "tenant_id", "name", "url", "secret_key", "events", "active", "headers", "token", "oauth_token_url",
            "oauth_client_id", "oauth_client_secret", "oauth_scope", "broker_url", "port", "username", "password", "use_tls",
            "topic_pattern", "default_enterprise", "settings",
        ]), hostile(), 0..20),
        settings in prop::collection::btree_map(prop::sample::select(vec![
            "timeout", "retry", "order", "concurrency", "window", "keep_alive", "max_payload", "start_at", "paused", "naming",
            "missing", "format", "client_id", "ca_file", "client_cert_file", "client_key_file", "ca", "client_cert", "client_key", "another",
        ]), hostile(), 0..17),
        key in "\\PC{0,300}",
    ) {
        let object = |fields: &std::collections::BTreeMap<&str, String>| {
            format!("{{{}}}", fields.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect::<Vec<_>>().join(","))
        };
        let mut columns = columns;
        columns.entry("settings").or_insert_with(|| object(&settings));
        let json = object(&columns);
        for kind in [DestinationKind::Mqtt, DestinationKind::Webhook] {
            let row = TableRow { key: &key, json: Ok(&json) };
            let Listed::Active(listed) = read(kind, "t", Format::Andon, row, &Defaults::default()) else { continue };
            prop_assert!(listed.lane.0.len() < 300 && listed.tenant.0.len() <= LONGEST_TENANT);
            if let Err(reasons) = listed.usable {
                prop_assert!(!reasons.is_empty() && reasons.iter().all(|it| it.len() < 20_000 && !it.contains('\0')));
            }
        }
    }
}

#[test]
fn a_schedule_may_have_a_thousand_waits() {
    let with = |waits: usize| {
        json!({"id": "1", "url": "http://erp.example/", "secret_key": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "events": ["*"],
            "settings": {"retry": vec!["300ms"; waits]}})
    };
    let allowed = active(DestinationKind::Webhook, "andon.x", Format::Andon, &with(1000));
    let too_many = problems(DestinationKind::Webhook, &with(1001));

    assert!(allowed.usable.is_ok(), "{:?}", allowed.usable);
    assert!(too_many[0].contains("at most 1000"), "{too_many:?}");
}
