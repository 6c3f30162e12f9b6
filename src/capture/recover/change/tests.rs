//! What is kept decides what can be captured again, and which rules take it.

use serde_json::json;

use super::*;
use crate::capture::finding::Location;
use crate::capture::mapping::TableName;
use crate::capture::table::TriggerLevel;

fn rule(operation: Operation, of: &[&str], event: &str) -> Rule {
    Rule {
        operation,
        of: of.iter().map(|column| (*column).to_owned()).collect(),
        when: None,
        event: format!("'{event}'"),
        entity_type: "job".to_owned(),
        entity_id: format!("{}.id", operation.row()),
        tenant: None,
        occurred_at: None,
        lookups: vec![],
        lookup_columns: Default::default(),
        pins: Default::default(),
        context: vec![],
        data: vec![],
    }
}

/// A table of jobs with these columns as its key.
fn jobs(key: &[&str]) -> CheckedTable {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    CheckedTable {
        name: TableName::new("jobs", Location::START),
        table: Table {
            sql: "public.jobs".to_owned(),
            columns: words(&["id", "line", "status", "client", "note"]),
            key: words(key),
            computed: Vec::new(),
            plant_triggers: Vec::new(),
            level: TriggerLevel::Statement,
        },
        rules: vec![
            rule(Operation::Insert, &[], "job.created"),
            rule(Operation::Update, &["client"], "job.moved"),
            rule(Operation::Update, &["status"], "job.status"),
            rule(Operation::Update, &[], "job.updated"),
            rule(Operation::Delete, &[], "job.deleted"),
        ],
    }
}

fn failure(operation: &str, new: Option<&str>, old: Option<&str>, key: Option<&str>) -> Failure {
    Failure {
        id: 1,
        at: jiff::Timestamp::UNIX_EPOCH,
        source: "mes".to_owned(),
        table: "public.jobs".to_owned(),
        relation: None,
        operation: operation.to_owned(),
        key: key.map(str::to_owned),
        reason: String::new(),
        new_image: new.map(str::to_owned),
        old_image: old.map(str::to_owned),
        changed: None,
        cut: Vec::new(),
        state: "open".to_owned(),
    }
}

fn operation(operation: &str, new: Option<&str>, old: Option<&str>, key: Option<&str>) -> Result<Operation, String> {
    Change::of(&failure(operation, new, old, key), &jobs(&["id"])).map(|change| change.operation)
}

#[test]
fn what_is_kept_decides_what_can_be_captured_again() {
    let image = Some(r#"{"id": 7}"#);

    assert_eq!(operation("insert", image, None, None), Ok(Operation::Insert));
    assert_eq!(operation("update", image, image, None), Ok(Operation::Update));
    assert_eq!(operation("update", image, None, Some("7")), Ok(Operation::Insert), "the key changed to this");
    assert_eq!(operation("update", None, image, Some("7")), Ok(Operation::Delete), "the key changed from this");
    assert_eq!(operation("delete", None, image, None), Ok(Operation::Delete));
    assert_eq!(operation("update", None, None, Some("7")), Ok(Operation::Update), "from the row as it is");
    assert!(operation("update", image, None, None).unwrap_err().contains("had no key"), "no row was paired");
    assert!(operation("delete", None, None, Some("7")).unwrap_err().contains("no image"));
    assert!(operation("update", None, None, None).unwrap_err().contains("--where"));
    assert!(operation("emit", image, None, None).unwrap_err().contains("no change of a row"));
    assert!(operation("insert", Some("["), None, None).unwrap_err().contains("cannot be read"));
}

/// Returns the types of the rules that take an update of these columns.
fn takers(changed: &[&str], new: &str) -> Vec<String> {
    let changed = Some(changed.iter().map(|column| (*column).to_owned()).collect());
    let failure = Failure { changed, ..failure("update", Some(new), Some(new), Some("7")) };
    let change = Change::of(&failure, &jobs(&["id"])).unwrap();
    assert!(change.rules.iter().all(|rule| rule.operation == change.operation && rule.of.is_empty()));
    change.rules.iter().map(|rule| rule.event.trim_matches('\'').to_owned()).collect()
}

#[test]
fn an_update_is_taken_by_the_rules_of_what_it_changed_even_where_no_value_of_that_is_kept() {
    let image = r#"{"id": 7, "status": "new"}"#;

    assert_eq!(takers(&["status"], image), ["job.status", "job.updated"]);
    assert_eq!(takers(&["client"], image), ["job.moved", "job.updated"], "its value is not kept");
    assert_eq!(takers(&["note"], image), ["job.updated"]);
    assert!(takers(&[], image).is_empty(), "nothing changed");
    assert_eq!(takers(&["customer"], image), ["job.moved", "job.updated"], "customer is called client now, perhaps");
    assert_eq!(
        takers(&["customer"], r#"{"id": 7, "client": "x", "status": "new"}"#),
        ["job.updated"],
        "client is another column"
    );
}

#[test]
fn what_changed_and_is_not_kept_is_not_known_of_the_row_before() {
    let image = Some(r#"{"id": 7, "status": "new"}"#);
    let failure = Failure { changed: Some(vec!["client".to_owned()]), ..failure("update", image, image, Some("7")) };

    let rows = Change::of(&failure, &jobs(&["id"])).unwrap().rows;

    let (new, old) = rows.split_once("cross join (select made.* from").unwrap();
    assert!(old.contains(r#"'{"client":null}'::jsonb ||"#) && !new.contains("null}"), "{rows}");
}

#[test]
fn a_key_of_several_columns_is_taken_apart_as_it_was_put_together() {
    let key = |columns: &[&str], text: &str| key_values(&jobs(columns).table, text).map(Value::Object);

    assert_eq!(key(&["id"], "a/b~1"), Some(json!({"id": "a/b~1"})), "one column stands as it is");
    assert_eq!(key(&["line", "id"], "a~1b/c~0~01"), Some(json!({"line": "a/b", "id": "c~~1"})));
    assert_eq!(key(&["line", "id"], "/"), Some(json!({"line": "", "id": ""})));
    assert_eq!(key(&["line", "id"], "a/b/c"), None, "an older version wrote it");
    assert_eq!(key(&["id"], &"x".repeat(LONGEST_KEY)), None, "it is cut");
    assert_eq!(key(&[], "7"), None);
}

#[test]
fn a_key_whose_column_was_renamed_since_is_taken_from_its_text() {
    let image = |key: Option<&str>| Image::of(r#"{"number": 7, "status": "new"}"#, key, &jobs(&["id"]).table);

    assert_eq!(Value::Object(image(Some("7")).unwrap().added), json!({"id": "7"}));
    let of_two = Image::of(r#"{"number": 7}"#, Some("7"), &jobs(&["line", "id"]).table);
    assert!(of_two.is_err_and(|reason| reason.contains("`7` is none of the columns line, id")));
}
