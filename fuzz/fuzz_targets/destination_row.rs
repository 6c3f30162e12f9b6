//! A row of a destination table, every column of which may be hostile. In: a key, and any text where the row's JSON is. Out: a destination
//! within the bounds, or reasons that people can read.
#![no_main]

use andon::destination::Defaults;
use andon::destination::DestinationKind;
use andon::destination::Listed;
use andon::destination::TableRow;
use andon::destination::read;
use andon::payload::Format;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, &str)| {
    let (key, json) = input;
    // PostgreSQL gives JSON and nothing else; what is none is a text in every column.
    let text = serde_json::Value::from(json).to_string();
    let columns = ["tenant_id", "name", "url", "broker_url", "port", "secret_key", "password", "topic_pattern", "events", "settings"];
    let object: Vec<String> = columns.iter().map(|column| format!("\"{column}\":{text}")).collect();
    let made = format!("{{{}}}", object.join(","));
    let is_json = serde_json::from_str::<serde_json::Value>(json).is_ok();
    let json = if is_json { json } else { &made };
    for kind in [DestinationKind::Mqtt, DestinationKind::Webhook] {
        for table in ["andon.webhooks", "public.webhooks"] {
            let row = TableRow { key, json: Ok(json) };
            let Listed::Active(listed) = read(kind, table, Format::Andon, row, &Defaults::default()) else { continue };
            assert!(listed.tenant.0.len() <= 512 && listed.name.chars().count() <= 200 && listed.lane.0.len() < 300);
            if let Err(reasons) = &listed.usable {
                let letters: usize = reasons.iter().map(|reason| reason.chars().count()).sum();
                assert!(!reasons.is_empty() && letters < 2000 + reasons.len() * 300, "{letters} letters");
            }
        }
    }
});
