//! The walk through an event's JSON, which never builds a tree. In: any text, and a path. Out: the same as `serde_json` finds there.
#![no_main]

use andon::event::Json;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use serde_json::value::RawValue;

fuzz_target!(|input: (&str, &str)| {
    let (text, path) = input;
    // PostgreSQL has parsed it before.
    let (Ok(raw), Ok(tree)) = (serde_json::from_str::<Box<RawValue>>(text), serde_json::from_str::<Value>(text)) else { return };
    let json = Json::from(raw);
    let found = json.at(path).map(|field| serde_json::from_str::<Value>(field.json()).expect("a part of JSON is JSON"));
    let expected = path.split('.').try_fold(&tree, |value, name| match value {
        Value::Object(object) => object.get(name),
        Value::Array(items) => items.get(name.parse::<usize>().ok()?),
        _ => None,
    });
    if has_no_repeated_name(text, &tree) {
        assert_eq!(found.as_ref(), expected, "at {path:?}");
    }
    let [first, second] = json.members(&["a", path]);
    for field in [first, second].into_iter().flatten() {
        drop(field.text());
        serde_json::from_str::<Value>(field.json()).expect("a part of JSON is JSON");
    }
});

/// Of a name that comes twice, jsonb keeps the last, so the log never has one.
fn has_no_repeated_name(text: &str, tree: &Value) -> bool {
    fn members(value: &Value) -> usize {
        match value {
            Value::Object(object) => object.len() + object.values().map(members).sum::<usize>(),
            Value::Array(items) => items.iter().map(members).sum(),
            _ => 0,
        }
    }
    // Each member has one colon outside of strings.
    let (mut colons, mut is_string, mut is_escaped) = (0, false, false);
    for letter in text.chars() {
        match letter {
            _ if is_escaped => is_escaped = false,
            '\\' if is_string => is_escaped = true,
            '"' => is_string = !is_string,
            ':' if !is_string => colons += 1,
            _ => {}
        }
    }
    colons == members(tree)
}
