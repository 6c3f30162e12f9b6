//! Finds the columns that hold the state of a thing: `status`, `order_status`, `shipmentStatus`, `status_id`. In: a table. Out: its state
//! columns, the one that the thing itself has first, and the events that the values of a state are called by.

use crate::capture::propose::column::can_be_read;
use crate::capture::propose::column::holds_words;
use crate::capture::propose::names::snake;
use crate::capture::propose::names::thing;
use crate::capture::propose::names::words;
use crate::capture::propose::tables::Column;
use crate::capture::propose::tables::ListedTable;
use crate::capture::propose::tables::Reference;

/// The last words of the names of columns that hold a state, the likeliest first.
const STATES: [&str; 4] = ["status", "state", "stage", "phase"];
/// Words before them that make it the state of something else, or of another time.
const NOT_NOW: &[&str] = &[
    "old", "previous", "prev", "last", "former", "prior", "next", "target", "default", "initial", "from", "to",
    "before", "after",
];
/// Words next to which a `state` is a part of a country.
const ADDRESS: &[&str] = &["city", "zip", "postal", "postcode", "country", "street"];
/// With more values than this, an entry for each would hide what matters.
const MOST_EVENTS: usize = 12;
/// Values whose events the entries for inserts and deletes make.
const TAKEN: &[&str] = &["created", "updated", "status_changed"];

/// A column that holds a state.
#[derive(Debug)]
pub(super) struct State<'t> {
    pub(super) column: &'t Column,
    /// The table that holds the names of the states, if the column refers to one.
    pub(super) reference: Option<&'t Reference>,
    /// The word for it in the names of events: `status`, or `payment_status`.
    pub(super) word: String,
}

/// Returns the state columns of a table, the one that the thing itself has first.
pub(super) fn of(table: &ListedTable) -> Vec<State<'_>> {
    let thing = thing(&table.name);
    let mut states: Vec<(usize, State<'_>)> =
        table.columns.iter().filter_map(|column| state(table, &thing, column)).collect();
    states.sort_by_key(|(rank, _)| *rank);
    states.into_iter().map(|(_, state)| state).collect()
}

fn state<'t>(table: &'t ListedTable, thing: &str, column: &'t Column) -> Option<(usize, State<'t>)> {
    let mut words = words(&column.name);
    let reference = table.references.iter().find(|reference| reference.column == column.name);
    if reference.is_some() {
        words.pop_if(|word| word == "id");
    }
    let place = STATES.iter().position(|state| words.last().is_some_and(|last| last == state))?;
    let is_of_now = !words.iter().any(|word| NOT_NOW.contains(&word.as_str()));
    let is_state = reference.is_some() || holds_words(column);
    let is_address = STATES[place] == "state" && column.labels.is_empty() && has_address(table);
    if !is_of_now || !is_state || is_address || !can_be_read(column) {
        return None;
    }
    let name = words.join("_");
    let last = thing.rsplit('_').next().unwrap_or_default();
    let own =
        [thing, last, "current"].iter().find_map(|thing| name.strip_prefix(&format!("{thing}_"))).unwrap_or(&name);
    let is_foreign = own.len() > STATES[place].len();
    let rank = place + if is_foreign { 10 } else { 0 } + if column.labels.is_empty() { 5 } else { 0 };
    Some((rank, State { column, reference, word: own.to_owned() }))
}

fn has_address(table: &ListedTable) -> bool {
    table.columns.iter().any(|column| words(&column.name).iter().any(|word| ADDRESS.contains(&word.as_str())))
}

/// Returns the events of a state that lists its values: the last word of each event's name, and the values that it stands for. What is
/// left over has no event of its own.
pub(super) fn events(state: &State<'_>) -> Vec<(String, Vec<String>)> {
    let mut events: Vec<(String, Vec<String>)> = Vec::new();
    if state.column.labels.len() > MOST_EVENTS {
        return events;
    }
    for label in &state.column.labels {
        let name = snake(label);
        if name.is_empty() || TAKEN.contains(&name.as_str()) || label.contains("$andon$") {
            continue;
        }
        match events.iter_mut().find(|(known, _)| *known == name) {
            Some((_, labels)) => labels.push(label.clone()),
            None => events.push((name, vec![label.clone()])),
        }
    }
    events
}

/// Returns whether the events of a state leave none of its values out.
pub(super) fn is_complete(state: &State<'_>, events: &[(String, Vec<String>)]) -> bool {
    !events.is_empty() && events.iter().map(|(_, labels)| labels.len()).sum::<usize>() == state.column.labels.len()
}

#[cfg(test)]
mod tests {
    use super::events;
    use super::is_complete;
    use super::of;
    use crate::capture::propose::tables::Column;
    use crate::capture::propose::tables::ListedTable;

    fn table(name: &str, columns: &[(&str, &[&str])]) -> ListedTable {
        let column = |(name, labels): &(&str, &[&str])| Column {
            name: (*name).to_owned(),
            data_type: "text".to_owned(),
            labels: labels.iter().map(|label| (*label).to_owned()).collect(),
            ..Column::default()
        };
        ListedTable { name: name.to_owned(), columns: columns.iter().map(column).collect(), ..ListedTable::default() }
    }

    #[test]
    fn the_state_of_the_thing_itself_comes_first_whatever_its_style() {
        let orders = table("salesOrders", &[("paymentStatus", &[]), ("order_status", &[]), ("previous_status", &[])]);
        let address = table("customers", &[("city", &[]), ("state", &[])]);
        let machines = table("machines", &[("state", &["running", "down"])]);

        let words = |table| of(table).iter().map(|state| state.word.clone()).collect::<Vec<_>>();
        assert_eq!(words(&orders), ["status", "payment_status"]);
        assert_eq!(words(&address), Vec::<String>::new());
        assert_eq!(words(&machines), ["state"]);
    }

    #[test]
    fn values_that_are_called_alike_are_one_event_and_some_have_none() {
        let jobs = table("jobs", &[("status", &["IN_PROGRESS", "in progress", "Due Today", "created", "完了"])]);
        let states = of(&jobs);

        let events = events(&states[0]);
        let names: Vec<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["in_progress", "due_today"]);
        assert_eq!(events[0].1, ["IN_PROGRESS", "in progress"]);
        assert!(!is_complete(&states[0], &events));
    }
}
