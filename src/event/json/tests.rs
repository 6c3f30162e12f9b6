//! Tests what a lookup finds against a model: a tree of the whole text.

use proptest::prelude::*;
use std::collections::HashMap;

use super::*;

fn json(text: &str) -> Json {
    RawValue::from_string(text.to_owned()).unwrap().into()
}

/// The model: reads a field by making a tree of each value on its path.
fn of_tree(text: &str, path: &str) -> Option<String> {
    let mut value = text.to_owned();
    for step in path.split('.') {
        value = match value.trim_ascii().chars().next()? {
            '{' => object(&value).get(step)?.get().to_owned(),
            '[' => serde_json::from_str::<Vec<Box<RawValue>>>(&value)
                .unwrap()
                .get(step.parse::<usize>().ok()?)?
                .get()
                .to_owned(),
            _ => return None,
        };
    }
    scalar(&value)
}

fn object(text: &str) -> HashMap<String, Box<RawValue>> {
    serde_json::from_str(text).unwrap_or_default()
}

fn scalar(text: &str) -> Option<String> {
    match text.trim_ascii() {
        "null" => None,
        text if text.starts_with('"') => {
            Some(serde_json::from_str::<String>(text).unwrap()).filter(|text| !text.is_empty())
        }
        text if text.starts_with(['{', '[']) => None,
        text => Some(text.to_owned()),
    }
}

fn at(text: &str, path: &str) -> Option<String> {
    json(text).at(path).and_then(Field::text).map(Cow::into_owned)
}

#[test]
fn a_field_is_found_whatever_stands_around_it() {
    let text = r#" {"a": {"b": [1, {"c\u0064": "x\ny"}, []]}, "e": "", "n": null, "t": true, "z": -1.50} "#;

    assert_eq!(at(text, "a.b.1.cd").as_deref(), Some("x\ny"));
    assert_eq!(at(text, "a.b.0").as_deref(), Some("1"));
    assert_eq!(at(text, "t").as_deref(), Some("true"));
    assert_eq!(at(text, "z").as_deref(), Some("-1.50"));
    for path in ["a", "a.b", "a.b.2", "a.b.2.0", "a.b.3", "a.b.x", "e", "n", "t.x", "q", ""] {
        assert_eq!(at(text, path), None, "{path}");
    }
}

#[test]
fn the_last_field_of_a_name_counts() {
    assert_eq!(at(r#"{"a": "1", "a": "2"}"#, "a").as_deref(), Some("2"));
    assert_eq!(at(r#"{"a": "1", "a": null}"#, "a"), None);
    assert_eq!(at(r#"{"a": {"b": 1}, "a": {"c": 2}}"#, "a.b"), None);
}

#[test]
fn a_number_keeps_the_digits_that_postgresql_gave_it() {
    for number in
        ["12345678901234567890", "12345678901234567891", "1.50", "-0.10", "0", "-7", "123456789.123456789012345678"]
    {
        assert_eq!(at(&format!(r#"{{"serial": {number}, "lots": [{number}]}}"#), "serial").as_deref(), Some(number));
        assert_eq!(at(&format!(r#"{{"lots": [{number}]}}"#), "lots.0").as_deref(), Some(number));
    }
}

#[test]
fn nothing_but_an_object_has_names() {
    for text in ["[1]", "null", "\"a\"", "7"] {
        assert!(json(text).members(&["a", "0"]).iter().all(Option::is_none), "{text}");
    }
}

/// A few names, so that paths often lead to a field and objects often have two fields of one name; some are written with escapes.
fn names() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["a", "b", "0", "1", r"\u0061", r#"\""#, r"\\", "ä", ""])
}

fn texts() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|truth| truth.to_string()),
        any::<i64>().prop_map(|number| number.to_string()),
        any::<u64>().prop_map(|number| number.to_string()),
        (-1e18..1e18f64).prop_map(|number| number.to_string()),
        "-?(0|[1-9][0-9]{0,25})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?",
        "[\\PC\"\\\\{}:,\\[\\]]{0,8}".prop_map(|text| serde_json::to_string(&text).unwrap()),
        prop::sample::select(vec![r#""""#, r#""\u00e4\n\"""#, r#""\ud83d\ude00""#]).prop_map(str::to_owned),
    ];
    let pads = prop::sample::select(vec!["", " ", "\n\t"]);
    (leaf, pads).prop_map(|(leaf, pad)| format!("{pad}{leaf}{pad}")).prop_recursive(4, 24, 4, |inner| {
        let field = (names(), inner.clone()).prop_map(|(name, value)| format!("\"{name}\":{value}"));
        prop_oneof![
            prop::collection::vec(field, 0..4).prop_map(|fields| format!("{{{}}}", fields.join(","))),
            prop::collection::vec(inner, 0..4).prop_map(|items| format!(" [{}]", items.join(", "))),
        ]
    })
}

proptest! {
    #[test]
    fn a_path_leads_where_it_leads_in_a_tree(text in texts(), path in prop::collection::vec(prop::sample::select(vec!["a", "b", "0", "1", "+1", "\"", "ä", ""]), 1..4)) {
        let path = path.join(".");
        prop_assert_eq!(at(&text, &path), of_tree(&text, &path));
    }

    #[test]
    fn members_are_those_of_a_tree(text in texts()) {
        let tree = object(&text);
        let names = ["a", "b", "0", "ä", "\"", ""];
        for (name, field) in names.iter().zip(json(&text).members(&names)) {
            prop_assert_eq!(field.and_then(Field::text).map(Cow::into_owned), tree.get(*name).and_then(|value| scalar(value.get())));
        }
    }

    #[test]
    fn what_is_no_json_ends_and_harms_nobody(text in "[\\[{\"\\\\:, a0é}\\]-]{0,24}", path in "[a0é.\"]{0,5}") {
        let json = Json(text.clone().into());
        prop_assert!(json.at(&path).is_none_or(|field| field.0.len() < text.len()));
        prop_assert!(json.members(&["a", "é"]).iter().flatten().all(|field| field.0.len() < text.len()));
    }

    #[test]
    fn what_the_database_wrote_is_what_it_reads(text in texts()) {
        let mut wire = BytesMut::new();
        json(&text).to_sql(&Type::JSONB, &mut wire).unwrap();
        prop_assert_eq!(&wire[..], [&[VERSION], json(&text).get().as_bytes()].concat());
        prop_assert_eq!(Json::from_sql(&Type::JSONB, &wire).unwrap(), json(&text));
    }
}
