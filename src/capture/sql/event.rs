//! The insert that turns changed rows into events. In: the rungs of one table, which are its entries made ready for SQL. Out: the text of
//! one `insert … select`. The first rung whose condition holds takes the row. It knows nothing of triggers or of the file.

use crate::capture::expression::mentions;
use crate::capture::mapping::Lookup;
use crate::capture::mapping::Operation;
use crate::capture::sql::quote::identifier;
use crate::capture::sql::quote::literal;

/// One entry for one operation, with every expression checked and complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rung {
    /// What must have happened.
    pub operation: Operation,
    /// Columns of which one must have changed; any, when empty.
    pub of: Vec<String>,
    /// What must hold besides.
    pub when: Option<String>,
    /// SQL for the event's name.
    pub event: String,
    /// The name of its kind.
    pub entity_type: String,
    /// SQL for the key.
    pub entity_id: String,
    /// SQL for the tenant.
    pub tenant: Option<String>,
    /// SQL for the time.
    pub occurred_at: Option<String>,
    /// Rows of other tables.
    pub lookups: Vec<Lookup>,
    /// Names and SQL.
    pub context: Vec<(String, String)>,
    /// Names and SQL.
    pub data: Vec<(String, String)>,
}

/// The insert for one operation over `rows`, which is a `from` item that names `new`, `old` or both.
pub fn insert(rungs: &[Rung], operation: Operation, key: &[String], levels: &[(String, String)], rows: &str) -> String {
    let taken: Vec<&Rung> = match operation {
        // An update that changes the key cannot be paired with its former self: it is captured as a delete and an insert.
        Operation::Update if !key.is_empty() => rungs.iter().collect(),
        _ => rungs.iter().filter(|rung| rung.operation == operation).collect(),
    };
    let mut arms: Vec<Vec<(usize, &Rung)>> = Vec::new();
    for (number, rung) in (1..).zip(taken.iter().copied()) {
        match arms.iter_mut().find(|arm| arm.iter().all(|(_, other)| differ_in_name_only(other, rung))) {
            Some(arm) => arm.push((number, rung)),
            None => arms.push(vec![(number, rung)]),
        }
    }
    let into = "insert into andon.events (tenant, type, entity_type, entity_id, occurred_at, context, data)";
    let ladder = ladder(&taken, operation, key);
    if let [only] = &arms[..] {
        return flat(into, only, levels, rows, &ladder);
    }
    let arms: Vec<String> = arms.iter().map(|rungs| indent(&arm(rungs, levels))).collect();
    let arms = arms.join("    union all\n");
    format!(
        "{into}
select event.tenant, event.type, event.entity_type, event.entity_id, event.occurred_at, event.context, event.data
from {rows}
cross join lateral (
    select {ladder} as rung offset 0
) as ladder
cross join lateral (
{arms}) as event;
"
    )
}

/// Where all rungs share one arm, the rows need no subquery for it: what starts at each statement is a smaller plan, and it is the
/// start that a small statement pays for.
fn flat(into: &str, rungs: &[(usize, &Rung)], levels: &[(String, String)], rows: &str, ladder: &str) -> String {
    let this = format!("cross join lateral (select {}.*) as this\n", rungs[0].1.operation.row());
    let lookups: String = used(rungs[0].1).into_iter().map(join).collect();
    let values = values(rungs, levels);
    match rungs {
        // The planner does not look into a `case`. It must not find out that unpaired rows are not wanted: it would make an inner join
        // of the full one, and nest it.
        [(number, _)] => format!("{into}\n{values}from {rows}\n{this}{lookups}where {ladder} = {number};\n"),
        _ => format!(
            "{into}\n{values}from {rows}
cross join lateral (
    select {ladder} as rung offset 0
) as ladder
{this}{lookups}where ladder.rung is not null;\n"
        ),
    }
}

fn ladder(rungs: &[&Rung], operation: Operation, key: &[String]) -> String {
    let numbers = |wanted: Operation| -> String {
        let conditions: String = (1..)
            .zip(rungs)
            .filter(|(_, rung)| rung.operation == wanted)
            .map(|(number, rung)| format!("\n            when {} then {number}", condition(rung)))
            .collect();
        if conditions.is_empty() { "null".to_owned() } else { format!("case{conditions} end") }
    };
    // Where each rung looks at columns of its own, it need not be asked first whether anything has changed.
    let is_narrow = rungs.iter().all(|rung| rung.operation != Operation::Update || !rung.of.is_empty());
    let updated = match numbers(Operation::Update) {
        numbers if is_narrow => format!("else {numbers} end"),
        numbers => format!("when new *<> old then {numbers} end"),
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

/// `*<>` compares the stored values of two records, so that it takes columns of every type, json among them.
fn condition(rung: &Rung) -> String {
    let mut conditions = Vec::new();
    if rung.operation == Operation::Update && !rung.of.is_empty() {
        let side = |row: &str| {
            let columns: Vec<String> = rung.of.iter().map(|column| format!("{row}.{}", identifier(column))).collect();
            format!("row({})::record", columns.join(", "))
        };
        conditions.push(format!("{} *<> {}", side("new"), side("old")));
    }
    conditions.extend(rung.when.as_ref().map(|when| format!("({when})")));
    if conditions.is_empty() { "true".to_owned() } else { conditions.join(" and ") }
}

/// Entries of one table mostly say the same of a row under different names, such as started and completed; they share an arm.
fn differ_in_name_only(one: &Rung, other: &Rung) -> bool {
    let same = |rung: &Rung| Rung { of: Vec::new(), when: None, event: String::new(), ..rung.clone() };
    same(one) == same(other) && used(one) == used(other)
}

fn arm(rungs: &[(usize, &Rung)], levels: &[(String, String)]) -> String {
    let rung = rungs[0].1;
    let is_taken = match rungs {
        [(number, _)] => format!("= {number}"),
        _ => {
            let numbers: Vec<String> = rungs.iter().map(|(number, _)| number.to_string()).collect();
            format!("in ({})", numbers.join(", "))
        }
    };
    let lookups: String = used(rung).into_iter().map(join).collect();
    let values = values(rungs, levels);
    format!("{values}from (select {}.*) as this\n{lookups}where ladder.rung {is_taken}\n", rung.operation.row())
}

/// What an event consists of.
fn values(rungs: &[(usize, &Rung)], levels: &[(String, String)]) -> String {
    let rung = rungs[0].1;
    let event = match rungs {
        [(_, only)] => only.event.clone(),
        _ => {
            let events: Vec<String> =
                rungs.iter().map(|(number, rung)| format!("when {number} then {}", rung.event)).collect();
            format!("(case ladder.rung {} end)", events.join(" "))
        }
    };
    let tenant = rung.tenant.as_ref().map_or("''".to_owned(), |sql| format!("coalesce(({sql})::text, '')"));
    let occurred_at = rung
        .occurred_at
        .as_ref()
        .map_or("clock_timestamp()".to_owned(), |sql| format!("coalesce(({sql})::timestamptz, clock_timestamp())"));
    let mut context = format!("jsonb_strip_nulls({})", object(&rung.context));
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
        literal(&rung.entity_type),
        rung.entity_id,
        object(&rung.data),
    )
}

fn indent(sql: &str) -> String {
    sql.lines().map(|line| format!("    {line}\n")).collect()
}

/// A lookup as a join. `limit 1` keeps one changed row at one event, and the planner at one visit by key for each row: it could
/// otherwise choose to read the whole table, and a trigger keeps the plan of its first statement.
pub fn join(lookup: &Lookup) -> String {
    let (alias, table) = (identifier(&lookup.alias), lookup.table.sql());
    format!("left join lateral (select * from {table} as {alias} where {} limit 1) as {alias} on true\n", lookup.on.sql)
}

/// The lookups that an expression reads, directly or through another lookup; the rest would be work for nothing.
fn used(rung: &Rung) -> Vec<&Lookup> {
    let mut read: Vec<&str> = vec![&rung.event, &rung.entity_id];
    read.extend(rung.tenant.as_deref());
    read.extend(rung.occurred_at.as_deref());
    read.extend(rung.context.iter().chain(&rung.data).map(|(_, sql)| sql.as_str()));
    let mut used = Vec::new();
    for lookup in rung.lookups.iter().rev() {
        if read.iter().any(|sql| mentions(sql, &lookup.alias)) {
            read.push(&lookup.on.sql);
            used.push(lookup);
        }
    }
    used.reverse();
    used
}

/// A function takes at most 100 arguments, so a large object is put together of several.
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
