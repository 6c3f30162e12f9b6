//! The insert that turns changed rows into events. In: the rules of one table, which are its entries made ready for SQL. Out: the text of
//! one `insert … select`, in which the first rule whose condition holds takes a row. It knows nothing of triggers or of the mapping file.

use std::collections::HashSet;

use crate::capture::expression::columns_read;
use crate::capture::expression::mentions;
use crate::capture::mapping::Lookup;
use crate::capture::mapping::Operation;
use crate::capture::sql::quote::identifier;
use crate::capture::sql::quote::literal;
use crate::capture::sql::settings::Pins;

/// One entry for one operation, with every expression checked and complete. In the generated SQL, the `case` that picks the rule of a row
/// is called `ladder`, and the number of the rule `rung`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The change that must have happened to the row.
    pub operation: Operation,
    /// Columns of which at least one must have changed; empty if any change will do.
    pub of: Vec<String>,
    /// A condition that must hold as well, as SQL.
    pub when: Option<String>,
    /// The event's type, as SQL.
    pub event: String,
    /// What kind of thing the event happened to, as plain text.
    pub entity_type: String,
    /// Which one it happened to, as SQL.
    pub entity_id: String,
    /// The tenant, as SQL; none for an event that belongs to no tenant.
    pub tenant: Option<String>,
    /// When it happened, as SQL; the clock if there is none.
    pub occurred_at: Option<String>,
    /// The rows of other tables that the expressions may read.
    pub lookups: Vec<Lookup>,
    /// The columns that expressions read of those rows: the lookup's name, the column, and its type as SQL.
    pub lookup_columns: Vec<(String, String, String)>,
    /// What the function has to pin because of this rule.
    pub pins: Pins,
    /// The context: names and SQL.
    pub context: Vec<(String, String)>,
    /// The payload: names and SQL.
    pub data: Vec<(String, String)>,
}

impl Rule {
    /// Returns the expressions without which there is no event, or one of something else.
    pub(super) fn required(&self) -> Vec<&str> {
        let mut required: Vec<&str> = vec![&self.event, &self.entity_id];
        required.extend(self.tenant.as_deref());
        required.extend(self.occurred_at.as_deref());
        required
    }

    /// Returns the columns that the rule reads of the changed row, and other words that could be columns.
    pub fn columns_read(&self) -> HashSet<String> {
        let single = [&self.when, &self.tenant, &self.occurred_at].into_iter().flatten();
        let named = self.context.iter().chain(&self.data).map(|(_, sql)| sql);
        let expressions =
            single.chain(named).chain([&self.event, &self.entity_id]).chain(self.lookups.iter().map(|it| &it.on.sql));
        self.of.iter().cloned().chain(expressions.flat_map(|sql| columns_read(sql))).collect()
    }

    /// Returns the lookups that the event needs.
    pub fn used_lookups(&self) -> Vec<&Lookup> {
        used(self)
    }
}

/// Returns what the function of these rules has to pin.
pub fn pins(rules: &[Rule]) -> Pins {
    let mut pins = Pins::default();
    rules.iter().for_each(|rule| pins.add(&rule.pins));
    pins
}

/// A rule, and its number in the `case` of the generated SQL.
type Numbered<'r> = (usize, &'r Rule);

/// Returns the insert for one operation. `rows` is a `from` item that yields `new`, `old` or both. `key` are the columns by which an update
/// was paired; empty if no pairing was needed.
pub fn insert(rules: &[Rule], operation: Operation, key: &[String], levels: &[(String, String)], rows: &str) -> String {
    insert_with(rules, operation, key, levels, rows, &mut |rules, lookup| join(rules[0], lookup))
}

/// Returns the same insert, in which each lookup of the rules that share a branch is joined in another way.
pub(super) fn insert_with(
    rules: &[Rule],
    operation: Operation,
    key: &[String],
    levels: &[(String, String)],
    rows: &str,
    join: &mut dyn FnMut(&[&Rule], &Lookup) -> String,
) -> String {
    let rules: Vec<&Rule> = match operation {
        // An update that changes the key cannot be paired with the row it was before: it is captured as a delete and an insert.
        Operation::Update if !key.is_empty() => {
            rules.iter().filter(|rule| rule.operation != Operation::Truncate).collect()
        }
        _ => rules.iter().filter(|rule| rule.operation == operation).collect(),
    };
    let mut branches: Vec<Vec<Numbered<'_>>> = Vec::new();
    for (number, rule) in (1..).zip(rules.iter().copied()) {
        match branches.iter_mut().find(|branch| branch.iter().all(|(_, other)| differ_only_in_type(other, rule))) {
            Some(branch) => branch.push((number, rule)),
            None => branches.push(vec![(number, rule)]),
        }
    }
    let into = "insert into andon.events (tenant, type, entity_type, entity_id, occurred_at, context, data)";
    let number = rule_number(&rules, operation, key);
    if let [only] = &branches[..] {
        return without_union(into, only, levels, rows, &number, &joins(only, join));
    }
    let branches: Vec<String> =
        branches.iter().map(|rules| indent(&branch(rules, levels, &joins(rules, join)))).collect();
    let branches = branches.join("    union all\n");
    format!(
        "{into}
select event.tenant, event.type, event.entity_type, event.entity_id, event.occurred_at, event.context, event.data
from {rows}
cross join lateral (
    select {number} as rung offset 0
) as ladder
cross join lateral (
{branches}) as event;
"
    )
}

/// Returns the joins of a branch.
fn joins(rules: &[Numbered<'_>], join: &mut dyn FnMut(&[&Rule], &Lookup) -> String) -> String {
    let own: Vec<&Rule> = rules.iter().map(|(_, rule)| *rule).collect();
    used(own[0]).into_iter().map(|lookup| join(&own, lookup)).collect()
}

/// Returns the insert for rules that share one branch, so that the rows need no subquery. The plan is smaller then, and starting the plan
/// is most of what a small statement pays for.
fn without_union(
    into: &str,
    rules: &[Numbered<'_>],
    levels: &[(String, String)],
    rows: &str,
    case: &str,
    lookups: &str,
) -> String {
    let this = format!("cross join lateral (select {}.*) as this\n", rules[0].1.operation.row());
    let values = values(rules, levels);
    match rules {
        // The planner does not look into a `case`, and it must not find out that unpaired rows are not wanted: it would turn the full
        // join into an inner one, and nest it.
        [(number, _)] => format!("{into}\n{values}from {rows}\n{this}{lookups}where {case} = {number};\n"),
        _ => format!(
            "{into}\n{values}from {rows}
cross join lateral (
    select {case} as rung offset 0
) as ladder
{this}{lookups}where ladder.rung is not null;\n"
        ),
    }
}

/// Returns the `case` that yields the number of the first rule whose condition holds.
fn rule_number(rules: &[&Rule], operation: Operation, key: &[String]) -> String {
    let numbers = |wanted: Operation| -> String {
        let conditions: String = (1..)
            .zip(rules)
            .filter(|(_, rule)| rule.operation == wanted)
            .map(|(number, rule)| format!("\n            when {} then {number}", condition(rule)))
            .collect();
        if conditions.is_empty() { "null".to_owned() } else { format!("case{conditions} end") }
    };
    // If every rule looks at columns of its own, the question whether anything has changed at all is superfluous.
    let is_narrow = rules.iter().all(|rule| rule.operation != Operation::Update || !rule.of.is_empty());
    let updated = match numbers(Operation::Update) {
        numbers if is_narrow => format!("else {numbers} end"),
        numbers => format!("when new.* *<> old.* then {numbers} end"),
    };
    match (operation, key.first()) {
        (Operation::Update, Some(first)) => {
            let first = identifier(first);
            format!(
                "case
        when old.{first} is null then {}
        when new.{first} is null then {}
        {updated}",
                numbers(Operation::Insert),
                numbers(Operation::Delete),
            )
        }
        (Operation::Update, None) if is_narrow => numbers(Operation::Update),
        (Operation::Update, None) => format!("case {updated}"),
        _ => numbers(operation),
    }
}

/// Returns the condition of a rule. `*<>` compares the stored values of two records, so it works for columns of every type, json included.
fn condition(rule: &Rule) -> String {
    let mut conditions = Vec::new();
    if rule.operation == Operation::Update && !rule.of.is_empty() {
        let side = |row: &str| {
            let columns: Vec<String> = rule.of.iter().map(|column| format!("{row}.{}", identifier(column))).collect();
            format!("row({})::record", columns.join(", "))
        };
        conditions.push(format!("{} *<> {}", side("new"), side("old")));
    }
    conditions.extend(rule.when.as_ref().map(|when| format!("({when})")));
    if conditions.is_empty() { "true".to_owned() } else { conditions.join(" and ") }
}

/// Returns whether two rules make the same event of a row but for its type, such as started and completed. Most entries of one table do,
/// and such rules share a branch.
fn differ_only_in_type(one: &Rule, other: &Rule) -> bool {
    let same =
        |rule: &Rule| Rule { of: Vec::new(), when: None, event: String::new(), pins: Pins::default(), ..rule.clone() };
    same(one) == same(other) && used(one) == used(other)
}

/// Returns the `select` that makes events of the rows that `rules` take.
fn branch(rules: &[Numbered<'_>], levels: &[(String, String)], lookups: &str) -> String {
    let rule = rules[0].1;
    let is_taken = match rules {
        [(number, _)] => format!("= {number}"),
        _ => {
            let numbers: Vec<String> = rules.iter().map(|(number, _)| number.to_string()).collect();
            format!("in ({})", numbers.join(", "))
        }
    };
    let values = values(rules, levels);
    format!("{values}from (select {}.*) as this\n{lookups}where ladder.rung {is_taken}\n", rule.operation.row())
}

/// Returns the values of an event. The rules differ at most in its type.
fn values(rules: &[Numbered<'_>], levels: &[(String, String)]) -> String {
    let rule = rules[0].1;
    let event = match rules {
        [(_, only)] => only.event.clone(),
        _ => {
            let events: Vec<String> =
                rules.iter().map(|(number, rule)| format!("when {number} then {}", rule.event)).collect();
            format!("(case ladder.rung {} end)", events.join(" "))
        }
    };
    let tenant = rule.tenant.as_ref().map_or("''".to_owned(), |sql| format!("coalesce(({sql})::text, '')"));
    let occurred_at = rule
        .occurred_at
        .as_ref()
        .map_or("clock_timestamp()".to_owned(), |sql| format!("coalesce(({sql})::timestamptz, clock_timestamp())"));
    let mut context = format!("jsonb_strip_nulls({})", object(&rule.context));
    if !levels.is_empty() {
        let levels: Vec<(String, String)> = levels.iter().map(|(name, value)| (name.clone(), literal(value))).collect();
        context = format!("{} || {context}", object(&levels));
    }
    format!(
        "select {tenant} as tenant, {event}::text as type, {}::text as entity_type,
    coalesce(({})::text, '') as entity_id, {occurred_at} as occurred_at,
    {context} as context,
    {} as data
",
        literal(&rule.entity_type),
        rule.entity_id,
        object(&rule.data),
    )
}

fn indent(sql: &str) -> String {
    sql.lines().map(|line| format!("    {line}\n")).collect()
}

/// Returns a lookup as a join. Because of `limit 1`, a changed row makes one event only, and the planner visits the table once for each
/// row, by key. It could otherwise choose to read the whole table, and a trigger keeps the plan of its first statement.
pub fn join(rule: &Rule, lookup: &Lookup) -> String {
    let read = rule.lookup_columns.iter().filter(|(row, ..)| *row == lookup.alias);
    let columns: Vec<String> =
        read.map(|(_, column, _)| format!("{}.{}", identifier(&lookup.alias), identifier(column))).collect();
    join_of(lookup, if columns.is_empty() { "*".to_owned() } else { columns.join(", ") })
}

/// Returns a lookup as a join of which all columns can be read, for whoever does not know yet which are. The functions read only what they
/// need, because they have no right to more.
pub fn join_whole(lookup: &Lookup) -> String {
    join_of(lookup, "*".to_owned())
}

fn join_of(lookup: &Lookup, columns: String) -> String {
    let (alias, table, on) = (identifier(&lookup.alias), lookup.table.sql(), &lookup.on.sql);
    format!("left join lateral (select {columns} from {table} as {alias} where {on} limit 1) as {alias} on true\n")
}

/// Returns the lookups that an expression of the rule reads, directly or through another lookup. The others would cost time for nothing.
fn used(rule: &Rule) -> Vec<&Lookup> {
    let mut read = rule.required();
    read.extend(rule.context.iter().chain(&rule.data).map(|(_, sql)| sql.as_str()));
    read_by(rule, read)
}

/// Returns the lookups that expressions of the rule read, directly or through another lookup.
pub(super) fn read_by<'s, 'r: 's>(rule: &'r Rule, mut read: Vec<&'s str>) -> Vec<&'r Lookup> {
    let mut used = Vec::new();
    for lookup in rule.lookups.iter().rev() {
        if read.iter().any(|sql| mentions(sql, &lookup.alias)) {
            read.push(&lookup.on.sql);
            used.push(lookup);
        }
    }
    used.reverse();
    used
}

/// Returns a JSON object. A function takes at most 100 arguments, so a large object is put together from several.
fn object(fields: &[(String, String)]) -> String {
    if fields.is_empty() {
        return "'{}'::jsonb".to_owned();
    }
    let parts: Vec<String> = fields
        .chunks(50)
        .map(|fields| {
            let fields: Vec<String> = fields.iter().map(|(name, sql)| format!("{}, {sql}", literal(name))).collect();
            format!("jsonb_build_object({})", fields.join(", "))
        })
        .collect();
    if parts.len() == 1 { parts.concat() } else { format!("({})", parts.join(" || ")) }
}
