//! What differs for receivers between two mappings. In: what each of them offers. Out: the differences, each with whether a receiver could
//! break by it, and the text of all. It is pure: the command line asks the database before.

use std::collections::BTreeSet;
use std::fmt::Write;

use crate::capture::contract::Contract;
use crate::capture::contract::OfferedEvent;
use crate::capture::contract::OfferedField;

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The event; empty for what holds for all.
    pub event: String,
    /// What differs, as text.
    pub text: String,
    /// Whether a receiver that works today could stop working.
    pub breaks: bool,
}

/// Returns what differs, by event.
pub fn between(before: &Contract, after: &Contract) -> Vec<Difference> {
    let mut differences = Differences::default();
    for key in keys(before.source.keys(), after.source.keys()) {
        let (old, new) = (before.source.get(key), after.source.get(key));
        if old != new {
            let value = |value: Option<&String>| value.map_or("none", String::as_str).to_owned();
            // Another table of destinations has other rows, and breaks nothing that a receiver reads.
            let breaks = ["profile", "time_zone"].contains(key) && old.is_some();
            differences.add("", format!("{key}: {}, was {}", value(new), value(old)), breaks);
        }
    }
    for name in keys(before.events.keys(), after.events.keys()) {
        match (before.events.get(name), after.events.get(name)) {
            (Some(_), None) => differences.add(name, "the event is gone".to_owned(), true),
            (None, Some(new)) => differences.add(name, format!("the event is new: {}", list(&new.origins)), false),
            (Some(old), Some(new)) => event(&mut differences, name, old, new),
            (None, None) => {}
        }
    }
    differences.0
}

#[derive(Default)]
struct Differences(Vec<Difference>);

impl Differences {
    fn add(&mut self, event: &str, text: String, breaks: bool) {
        self.0.push(Difference { event: event.to_owned(), text, breaks });
    }
}

fn event(differences: &mut Differences, name: &str, old: &OfferedEvent, new: &OfferedEvent) {
    for key in keys(old.fields.keys(), new.fields.keys()) {
        match (old.fields.get(key), new.fields.get(key)) {
            (Some(_), None) => differences.add(name, format!("{key} is gone"), true),
            (None, Some(field)) => {
                let types = if field.types.is_empty() { String::new() } else { format!(" ({})", list(&field.types)) };
                // An event that gets a tenant reaches other destinations than before.
                differences.add(name, format!("{key} is new: {}{types}", list(&field.expressions)), key == "tenant");
            }
            (Some(old), Some(new)) => field(differences, name, key, old, new),
            (None, None) => {}
        }
    }
    if old.origins != new.origins {
        differences.add(name, format!("it comes from {}, was {}", list(&new.origins), list(&old.origins)), false);
    }
}

fn field(differences: &mut Differences, event: &str, key: &str, old: &OfferedField, new: &OfferedField) {
    if old.is_always && !new.is_always {
        differences.add(event, format!("{key} is not in each of these events any more"), true);
    }
    if old.types != new.types && !old.types.is_empty() && !new.types.is_empty() {
        differences.add(event, format!("{key} is {}, was {}", list(&new.types), list(&old.types)), true);
    } else if old.expressions != new.expressions {
        // What an event is about and whose it is decides its order and its destinations.
        let breaks = !key.contains('.');
        differences.add(event, format!("{key} is {}, was {}", list(&new.expressions), list(&old.expressions)), breaks);
    }
}

/// Returns the differences as text. Lines of what could break a receiver begin with `!`.
pub fn text(source: &str, differences: &[Difference]) -> String {
    if differences.is_empty() {
        return format!("source {source}: nothing changes for receivers\n");
    }
    let mut text = format!("source {source}\n");
    let mut last = None;
    for difference in differences {
        if last != Some(&difference.event) && !difference.event.is_empty() {
            writeln!(text, "  {}", difference.event).expect("a String takes everything");
        }
        last = Some(&difference.event);
        let mark = if difference.breaks { '!' } else { ' ' };
        let indent = if difference.event.is_empty() { " " } else { "   " };
        writeln!(text, "{mark}{indent}{}", difference.text).expect("a String takes everything");
    }
    let breaking = differences.iter().filter(|difference| difference.breaks).count();
    match breaking {
        0 => text.push_str("no receiver can break by this\n"),
        count => writeln!(text, "{count} of {} changes could break a receiver", differences.len())
            .expect("a String takes everything"),
    }
    text
}

fn keys<'k, K: Ord + 'k>(old: impl Iterator<Item = &'k K>, new: impl Iterator<Item = &'k K>) -> BTreeSet<&'k K> {
    old.chain(new).collect()
}

fn list(items: &BTreeSet<String>) -> String {
    items.iter().map(String::as_str).collect::<Vec<_>>().join(" | ")
}

#[cfg(test)]
mod tests {
    use super::between;
    use super::text;
    use crate::capture::check::Types;
    use crate::capture::contract::Contract;
    use crate::capture::mapping::Mapping;

    const OLD: &str = "
        [source]
        name = 'plant'
        site = 'Hamburg'
        [table.jobs]
        context = { cell = 'this.cell', line = 'this.line' }
        columns = ['id', 'status']
        [[capture]]
        table = 'jobs'
        on = 'insert'
        type = 'job.created'
        data = { number = 'new.number' }
        [[capture]]
        table = 'jobs'
        on = 'update'
        of = ['status']
        type = 'job.on_hold'
        [[capture]]
        table = 'jobs'
        on = 'delete'
        type = 'job.deleted'
        [[channel]]
        channel = 'machines'
        type = 'machine.down'
        fields = ['code']";

    fn difference(old: &str, new: &str) -> String {
        let contract = |text| Contract::of(&Mapping::parse("plant.toml", text).unwrap(), &Types::default());
        text("plant", &between(&contract(old), &contract(new)))
    }

    #[test]
    fn the_same_mapping_changes_nothing_however_it_is_written() {
        let rewritten = OLD
            .replace("on = 'insert'", "on = ['insert']\n        # a comment")
            .replace("'new.number'", "' new.number '");

        assert_eq!(difference(OLD, &rewritten), "source plant: nothing changes for receivers\n");
    }

    #[test]
    fn events_fields_levels_entities_and_tenants_are_compared_one_by_one() {
        let new = OLD
            .replace("job.on_hold", "job.stopped")
            .replace("columns = ['id', 'status']", "columns = ['id']\n        entity_id = 'this.number'")
            .replace("line = 'this.line'", "area = 'this.hall'")
            .replace("'this.cell'", "'this.machine'")
            .replace("name = 'plant'", "name = 'plant'\n        profile = 'eryxon'\n        webhooks = 'hooks'\n        tenant = 'this.company'")
            .replace("fields = ['code']", "fields = ['code', 'since']");

        insta::assert_snapshot!(difference(OLD, &new));
    }

    #[test]
    fn what_is_only_more_breaks_nothing_and_what_is_only_sometimes_there_does() {
        let more = OLD.replace("data = { number", "data = { note = 'new.note', number");
        let sometimes = format!("{OLD}\n[[capture]]\ntable = 'orders'\non = 'insert'\ntype = 'job.created'");

        let more = difference(OLD, &more);
        let sometimes = difference(OLD, &sometimes);

        assert!(more.contains("    data.note is new: new.note") && more.contains("no receiver can break"), "{more}");
        assert!(sometimes.contains("!   data.number is not in each of these events any more"), "{sometimes}");
    }
}
