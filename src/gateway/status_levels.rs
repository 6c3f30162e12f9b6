//! Keeps the status topics of publishers apart. In: all destinations. Out: the same, where no two publishers of one broker have the same level
//! in their status topics, and each level says something.

use std::collections::HashMap;

use sha2::Digest as _;
use sha2::Sha256;

use crate::destination::DestinationRow;
use crate::destination::Target;
use crate::destination::publisher::Publisher;
use crate::destination::status_level::NAMELESS;

/// Adds a suffix to the levels that several publishers of one broker have, and to those that say nothing. The suffix follows from the lane, so
/// all daemons choose the same. A row whose level gets one, or no longer has one, counts as changed.
pub(super) fn set_apart(rows: &mut [DestinationRow]) {
    let mut publishers: HashMap<(String, u16, String), u32> = HashMap::new();
    for publisher in rows.iter_mut().filter_map(publisher) {
        *publishers.entry(key(publisher)).or_default() += 1;
    }
    for row in rows {
        let Some(publisher) = publisher(row) else { continue };
        if publishers[&key(publisher)] > 1 || publisher.status_level == NAMELESS {
            let suffix = suffix(&row.lane.0);
            if let Some(publisher) = self::publisher(row) {
                publisher.status_level = format!("{}-{suffix}", publisher.status_level);
            }
            row.fingerprint = format!("{}-{suffix}", row.fingerprint);
        }
    }
}

fn publisher(row: &mut DestinationRow) -> Option<&mut Publisher> {
    match &mut row.usable.as_mut().ok()?.target {
        Target::Mqtt(publisher) => Some(publisher),
        Target::Webhook(_) => None,
    }
}

fn key(publisher: &mut Publisher) -> (String, u16, String) {
    (publisher.host.clone(), publisher.port, publisher.status_level.clone())
}

fn suffix(lane: &str) -> String {
    Sha256::digest(lane).iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::destination::Defaults;
    use crate::destination::DestinationKind;
    use crate::destination::Listed;
    use crate::destination::TableRow;
    use crate::destination::read;
    use crate::payload::Format;

    fn row(id: &str, name: &str, broker: &str) -> DestinationRow {
        let json = json!({"id": id, "name": name, "broker_url": broker, "events": ["*"]}).to_string();
        let row = TableRow { key: id, json: Ok(&json) };
        match read(DestinationKind::Mqtt, "t", Format::Andon, row, &Defaults::default()) {
            Listed::Active(row) => *row,
            Listed::Inactive(lane) => panic!("{lane} is active"),
        }
    }

    fn levels(rows: &mut [DestinationRow]) -> Vec<String> {
        set_apart(rows);
        rows.iter_mut().map(|row| publisher(row).unwrap().status_level.clone()).collect()
    }

    #[test]
    fn publishers_of_one_broker_never_share_a_level() {
        let mut rows = [
            row("1", "plant", "a"),
            row("2", "plant", "a"),
            row("3", "plant", "b"),
            row("4", "空", "a"),
            row("5", "é è", "a"),
            row("6", "a b", "a"),
            row("7", "a/b", "a"),
            row("8", "alone", "a"),
        ];

        let levels = levels(&mut rows);

        let different: std::collections::HashSet<_> = levels.iter().collect();
        assert_eq!(different.len(), levels.len(), "{levels:?}");
        assert_eq!((levels[2].as_str(), levels[7].as_str()), ("plant", "alone"), "only those that collide change");
        assert!(
            levels[0].starts_with("plant-") && levels[3].starts_with("publisher-") && levels[5].starts_with("a_b-")
        );
    }

    #[test]
    fn a_row_whose_level_changes_counts_as_changed() {
        let (mut alone, mut both) = ([row("1", "plant", "a")], [row("1", "plant", "a"), row("2", "plant", "a")]);
        set_apart(&mut alone);
        set_apart(&mut both);

        assert_ne!(alone[0].fingerprint, both[0].fingerprint);
        assert_eq!(alone[0].fingerprint, row("1", "plant", "a").fingerprint);
    }
}
