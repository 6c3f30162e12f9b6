//! The insert that is tried when the one of all rows fails because of a lookup. In: the rules of a table. Out: SQL that yields the text of the
//! same insert, in which each lookup that fails gives nulls. It costs nothing until then: the function holds it as text.

use std::collections::HashSet;

use crate::capture::expression::may_read;
use crate::capture::mapping::Lookup;
use crate::capture::mapping::Operation;
use crate::capture::sql::event;
use crate::capture::sql::event::Rule;
use crate::capture::sql::quote::identifier;
use crate::capture::sql::quote::literal;

/// An insert that can do without lookups.
pub(super) struct Fallback {
    /// The lookups that it can do without, by name.
    names: Vec<String>,
    /// For each, what shows whether it works.
    probes: Vec<String>,
    /// SQL that yields the text of the insert. It reads the numbers of the lookups that fail from the variable `failing`.
    statement: String,
}

impl Fallback {
    /// Returns the insert for one operation; none if there is no lookup that it can do without. What its tenant, its entity, its type or its
    /// time is made of, an event cannot do without: it would be the event of something else.
    pub(super) fn new(
        rules: &[Rule],
        operation: Operation,
        key: &[String],
        levels: &[(String, String)],
        rows: &str,
    ) -> Option<Fallback> {
        let mut fallback = Fallback { names: Vec::new(), probes: Vec::new(), statement: String::new() };
        let mut choices = Vec::new();
        let text = event::insert_with(rules, operation, key, levels, rows, &mut |rules, lookup| {
            let is_required = |rule: &&Rule| event::read_by(rule, rule.required()).contains(&lookup);
            if rules.iter().any(is_required) {
                return event::join(rules[0], lookup);
            }
            let number = fallback.number_of(lookup, probe(rules[0], lookup));
            let (works, fails) = (literal(&event::join(rules[0], lookup)), literal(&nulls(rules[0], lookup)));
            choices.push(format!("case when {number} = any (failing) then {} else {} end", fails.trim(), works.trim()));
            format!("{MARK}{}{MARK}", choices.len() - 1)
        });
        // What stands between two marks is the number of a choice.
        let parts = text.split(MARK).enumerate().map(|(place, part)| match part.parse::<usize>() {
            Ok(number) if place % 2 == 1 => choices[number].clone(),
            _ => literal(part).trim_start().to_owned(),
        });
        fallback.statement = parts.collect::<Vec<_>>().join("\n|| ");
        (!fallback.names.is_empty()).then_some(fallback)
    }

    /// Returns the PL/pgSQL that tries it, records which lookups fail, and ends the function. `using` hands over the row of a row trigger. If
    /// it fails as well, or no lookup does, what follows is to be done.
    pub(super) fn attempt(&self, source: &str, table: &str, using: &str) -> String {
        let list = |texts: &[String]| {
            let texts: Vec<String> = texts.iter().map(|text| literal(text).trim_start().to_owned()).collect();
            texts.join(", ")
        };
        format!(
            "select it.failing, it.reason into failing, said from andon.failing_lookups(tg_relid, array[{}], array[{}]) it;
if failing <> '{{}}' then
    begin
        execute {}{using};
        get diagnostics made = row_count;
        if made > 0 then
            perform andon.lookup_failed({source}, {table}, tg_relid, code, said);
            perform andon.ring();
        end if;
        return null;
    exception when transaction_rollback then
        raise;
    when others then
        -- It was not, or not only, these lookups.
        null;
    end;
end if;
",
            list(&self.names),
            list(&self.probes),
            self.statement,
        )
    }

    fn number_of(&mut self, lookup: &Lookup, probe: String) -> usize {
        let known = self.probes.iter().position(|known| *known == probe);
        known.unwrap_or_else(|| {
            self.names.push(lookup.alias.clone());
            self.probes.push(probe);
            self.probes.len() - 1
        }) + 1
    }
}

/// It stands in no SQL.
const MARK: char = '\u{1}';

/// Returns what follows the changed rows in a query that fails if the lookup does: its join, after those that it reads, and its columns.
fn probe(rule: &Rule, lookup: &Lookup) -> String {
    let mut joins: String = event::read_by(rule, vec![&lookup.on.sql])
        .into_iter()
        .filter(|earlier| earlier.alias != lookup.alias)
        .map(|earlier| event::join(rule, earlier))
        .collect();
    joins.push_str(&event::join(rule, lookup));
    let columns: Vec<String> = columns(rule, lookup)
        .map(|(column, _)| format!("{}.{}", identifier(&lookup.alias), identifier(column)))
        .collect();
    format!("{joins}cross join lateral (select {}) as needed limit 0", columns.join(", "))
}

/// Returns what stands in the place of a lookup that fails: a row in which all that is read is null.
fn nulls(rule: &Rule, lookup: &Lookup) -> String {
    let columns: Vec<String> = columns(rule, lookup)
        .map(|(column, data_type)| format!("null::{data_type} as {}", identifier(column)))
        .collect();
    format!("cross join (select {}) as {}\n", columns.join(", "), identifier(&lookup.alias))
}

fn columns<'r>(rule: &'r Rule, lookup: &Lookup) -> impl Iterator<Item = (&'r String, &'r String)> {
    let alias = lookup.alias.clone();
    let of_lookup = rule.lookup_columns.iter().filter(move |(row, ..)| *row == alias);
    of_lookup.map(|(_, column, data_type)| (column, data_type))
}

/// Returns the columns of a looked-up row that the expressions of a rule read, of all that there are.
pub fn columns_read<'c>(rule: &Rule, lookup: &Lookup, all: impl Iterator<Item = &'c str>) -> Vec<&'c str> {
    let mut expressions = rule.required();
    expressions.extend(rule.context.iter().chain(&rule.data).map(|(_, sql)| sql.as_str()));
    expressions
        .extend(rule.lookups.iter().filter(|other| other.alias != lookup.alias).map(|other| other.on.sql.as_str()));
    let read: HashSet<String> = expressions.iter().flat_map(|sql| may_read(sql, &lookup.alias)).collect();
    all.filter(|column| read.contains(*column)).collect()
}
