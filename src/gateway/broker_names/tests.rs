//! The names of publishers at brokers. In: rows, and edits of them. Out: whether each keeps its names, and nobody has another's.

use std::collections::HashSet;

use proptest::prelude::*;
use serde_json::Value;
use serde_json::json;

use super::*;
use crate::destination::Defaults;
use crate::destination::DestinationKind;
use crate::destination::Listed;
use crate::destination::TableRow;
use crate::destination::read;
use crate::payload::Format;

/// A row that somebody may edit.
#[derive(Debug, Clone, PartialEq)]
struct Edited {
    id: usize,
    name: &'static str,
    broker: &'static str,
    client_id: Option<&'static str>,
    condition: Condition,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Condition {
    Active,
    Paused,
    Unusable,
}

impl Edited {
    fn tenant(&self) -> &'static str {
        if self.id.is_multiple_of(2) { "acme" } else { "rival" }
    }

    fn read(&self) -> DestinationRow {
        let events = if self.condition == Condition::Unusable { json!([]) } else { json!(["*"]) };
        row(json!({"id": self.id.to_string(), "name": self.name, "tenant_id": self.tenant(), "broker_url": self.broker,
            "events": events, "settings": {"client_id": self.client_id, "paused": self.condition == Condition::Paused}}))
    }
}

fn row(mut json: Value) -> DestinationRow {
    if json["settings"]["client_id"].is_null() {
        json["settings"].as_object_mut().map(|settings| settings.remove("client_id"));
    }
    let (id, text) = (json["id"].as_str().unwrap().to_owned(), json.to_string());
    let row = TableRow { key: &id, json: Ok(&text) };
    match read(DestinationKind::Mqtt, "t", Format::Andon, row, &Defaults::default()) {
        Listed::Active(row) => *row,
        Listed::Inactive(lane) => panic!("{lane} is active"),
    }
}

fn plain(id: &str, name: &str, broker: &str) -> DestinationRow {
    row(json!({"id": id, "name": name, "broker_url": broker, "events": ["*"], "settings": {}}))
}

fn pinned(id: &str, tenant: &str, name: &str, broker: &str) -> DestinationRow {
    row(json!({"id": id, "tenant_id": tenant, "name": name, "broker_url": broker, "events": ["*"],
        "settings": {"client_id": "plc"}}))
}

fn give_to(rows: &mut [DestinationRow], held: &Holders) -> Holders {
    give(rows, held, |_| false)
}

fn level(row: &DestinationRow) -> &str {
    &publisher(row).unwrap().status_level
}

fn problem(row: &DestinationRow) -> &str {
    &row.usable.as_ref().unwrap_err()[0]
}

#[test]
fn publishers_of_one_broker_never_share_a_level() {
    let mut rows = [
        plain("1", "plant", "a"),
        plain("2", "plant", "a"),
        plain("3", "plant", "b"),
        plain("4", "空", "a"),
        plain("5", "é è", "a"),
        plain("6", "a b", "a"),
        plain("7", "a/b", "a"),
        plain("8", "alone", "a"),
    ];

    give_to(&mut rows, &Holders::new());

    let levels: Vec<&str> = rows.iter().map(level).collect();
    let names: HashSet<String> = rows.iter().map(|row| level_name(publisher(row).unwrap(), level(row))).collect();
    assert_eq!(names.len(), rows.len(), "{levels:?}");
    assert_eq!((levels[0], levels[2], levels[7]), ("plant", "plant", "alone"), "the first has it, and each alone");
    assert!(levels[1].starts_with("plant-") && levels[3].starts_with("publisher-") && levels[6].starts_with("a_b-"));
}

#[test]
fn a_row_whose_level_gets_a_suffix_counts_as_changed_and_no_other_does() {
    let mut both = [plain("1", "plant", "a"), plain("2", "plant", "a")];
    give_to(&mut both, &Holders::new());

    assert_eq!(both[0].fingerprint, plain("1", "plant", "a").fingerprint);
    assert_ne!(both[1].fingerprint, plain("2", "plant", "a").fingerprint);
}

#[test]
fn who_has_a_level_keeps_it_although_another_row_comes_first_and_its_suffix_when_the_other_goes() {
    let held = give_to(&mut [plain("2", "plant", "a")], &Holders::new());
    let mut both = [plain("1", "plant", "a"), plain("2", "plant", "a")];
    let held = give_to(&mut both, &held);
    assert!((level(&both[0]).starts_with("plant-"), level(&both[1])) == (true, "plant"));

    let mut left = [plain("1", "plant", "a")];
    give_to(&mut left, &held);

    assert_eq!((level(&left[0]), &left[0].fingerprint), (level(&both[0]), &both[0].fingerprint), "it is not restarted");
}

#[test]
fn nobody_squats_on_the_level_with_a_suffix_that_another_would_get() {
    let mut both = [plain("1", "plant", "a"), plain("2", "plant", "a")];
    give_to(&mut both, &Holders::new());
    let squatter = || plain("0", level(&both[1]), "a");
    let held = give_to(&mut [plain("1", "plant", "a"), squatter()], &Holders::new());

    let mut rows = [plain("1", "plant", "a"), squatter(), plain("2", "plant", "a")];
    give_to(&mut rows, &held);

    let levels: HashSet<&str> = rows.iter().map(level).collect();
    assert_eq!((levels.len(), level(&rows[2]).len()), (3, "plant-".len() + 64), "{levels:?}");
}

#[test]
fn a_client_id_is_for_the_row_that_has_it_and_no_other_tenant_is_named() {
    let held = give_to(&mut [pinned("2", "acme", "hall 2", "x")], &Holders::new());
    let mut rows = [
        pinned("1", "rival", "hall 1", "mqtt://X."),
        pinned("2", "acme", "hall 2", "x"),
        pinned("3", "acme", "hall 3", "x:1883"),
        pinned("4", "acme", "hall 4", "y"),
    ];

    give_to(&mut rows, &held);

    assert_eq!(
        problem(&rows[0]),
        "mqtt publisher `hall 1`: settings.client_id `plc` is that of another publisher at x:1883; give it its own"
    );
    assert!(rows[1].usable.is_ok() && rows[3].usable.is_ok());
    assert!(problem(&rows[2]).contains("is that of `hall 2` at x:1883"), "{}", problem(&rows[2]));
    assert_eq!(rows[1].fingerprint, pinned("2", "acme", "hall 2", "x").fingerprint, "its lane goes on");
    assert_ne!(rows[2].fingerprint, pinned("3", "acme", "hall 3", "x:1883").fingerprint, "it can be taken up later");
}

#[test]
fn a_row_that_is_gone_or_paused_leaves_its_names_and_one_that_nobody_has_read_does_not() {
    let held = give_to(&mut [pinned("1", "acme", "plant", "x")], &Holders::new());
    let given = |first: Option<DestinationRow>, is_unread: bool| {
        let mut rows: Vec<_> = first.into_iter().chain([pinned("2", "rival", "plant", "x")]).collect();
        give(&mut rows, &held, |lane| is_unread && lane.0 == "t/1");
        rows.pop().unwrap().usable.is_ok()
    };
    let paused = row(json!({"id": "1", "tenant_id": "acme", "name": "plant", "broker_url": "x", "events": ["*"],
        "settings": {"client_id": "plc", "paused": true}}));
    let unusable = row(json!({"id": "1", "tenant_id": "acme", "name": "plant", "broker_url": "x", "events": [],
        "settings": {"client_id": "plc"}}));

    assert!(given(None, false) && given(Some(paused), false));
    assert!(!given(None, true) && !given(Some(unusable), false));
}

#[test]
fn addresses_of_one_broker_are_one_broker() {
    let same = [["Broker.Plant", "broker.plant."], ["::1", "0:0::0:1"], ["10.0.0.1", "::ffff:10.0.0.1"]];
    let spelled = ["127.1", "0x7f.1", "2130706433", "0177.1", "127.1.", "[::ffff:127.0.0.1]"];
    for names in same.into_iter().chain(spelled.map(|one| ["127.0.0.1", one])) {
        let [one, other] = names.map(|host| {
            let mut row = plain("1", "plant", "x");
            let Target::Mqtt(publisher) = &mut row.usable.as_mut().unwrap().target else { panic!("a publisher") };
            host.clone_into(&mut publisher.host);
            publisher.broker()
        });
        assert_eq!(one, other);
    }
}

#[test]
fn a_name_that_no_table_takes_is_stored_as_a_digest() {
    for id in ["空".to_owned(), "x".repeat(10_000), "a\tb".to_owned()] {
        let row =
            row(json!({"id": "1", "name": "plant", "broker_url": "x", "events": ["*"], "settings": {"client_id": id}}));
        let name = id_name(publisher(&row).unwrap()).unwrap();
        assert!(name.len() == 64 && name.is_ascii(), "{name}");
    }
}

fn edit() -> impl Strategy<Value = (Edited, bool)> {
    let conditions =
        prop_oneof![6 => Just(Condition::Active), 1 => Just(Condition::Paused), 1 => Just(Condition::Unusable)];
    let names = prop::sample::select(vec!["plant", "hall", "plant-1", "空"]);
    let ids = prop::option::of(prop::sample::select(vec!["plc", "gw"]));
    let parts =
        (0usize..8, names, prop::sample::select(vec!["x", "X.", "y"]), ids, conditions, prop::bool::weighted(0.8));
    parts.prop_map(|(id, name, broker, client_id, condition, is_there)| {
        (Edited { id, name, broker, client_id, condition }, is_there)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn nothing_that_a_tenant_does_changes_what_another_has(edits in prop::collection::vec(edit(), 1..20)) {
        let (mut table, mut held): (Vec<Edited>, Holders) = Default::default();
        let mut before: HashMap<LaneName, (String, String)> = HashMap::new();
        for (edited, is_there) in edits {
            table.retain(|it| it.id != edited.id);
            if is_there {
                table.push(edited.clone());
            }
            let mut rows: Vec<_> = table.iter().map(Edited::read).collect();
            held = give_to(&mut rows, &held);

            let mut names = HashSet::new();
            let mut now = HashMap::new();
            for row in rows.iter().filter(|row| publisher(row).is_some()) {
                let has = publisher(row).unwrap();
                prop_assert!(names.insert(level_name(has, &has.status_level)), "{} has the level of another", row.lane);
                prop_assert!(id_name(has).is_none_or(|id| names.insert(id)), "{} has the id of another", row.lane);
                now.insert(row.lane.clone(), (has.status_level.clone(), row.fingerprint.clone()));
            }
            before.retain(|lane, _| rows.iter().any(|row| row.lane == *lane) && lane.0 != format!("t/{}", edited.id));
            for (lane, had) in &before {
                prop_assert_eq!(Some(had), now.get(lane), "{} lost its names by an edit of {}", lane, edited.id);
            }
            before = now;
        }
    }
}
