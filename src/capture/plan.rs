//! What has to be done to attach or detach a source. In: the mapping and what is installed. Out: the statements, in order, and what they
//! amount to by table. It reads the catalogue and changes nothing: the same plan is run by `attach` and printed by a dry run.

use tokio_postgres::Row;
use tokio_postgres::Transaction;

use crate::capture::attach::SourceError;
use crate::capture::attach::failed;
use crate::capture::check;
use crate::capture::finding::Problems;
use crate::capture::mapping::Mapping;
use crate::capture::mapping::Operation;
use crate::capture::mapping::TableName;
use crate::capture::sql::event;
use crate::capture::sql::event::Rung;
use crate::capture::sql::quote::identifier;
use crate::capture::sql::quote::literal;
use crate::capture::sql::trigger;
use crate::capture::sql::trigger::Installation;
use crate::capture::table::Firing;
use crate::capture::table::Table;

/// What becomes of the capture of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// There was none.
    Created,
    /// There was another one.
    Replaced,
    /// It is there already.
    Unchanged,
    /// It is no longer wanted.
    Dropped,
}

/// Statements for one transaction.
#[derive(Debug, Default)]
pub struct Plan {
    /// Tables to lock first, always in the same order.
    pub locks: Vec<Lock>,
    /// What is being done, and the SQL for it.
    pub steps: Vec<(String, String)>,
    /// What it amounts to.
    pub changes: Vec<(String, Change)>,
}

/// A table that the plan needs to itself for a moment.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lock {
    /// For SQL.
    pub table: String,
    /// Dropping a trigger keeps readers out too; making one does not.
    pub is_exclusive: bool,
}

impl Lock {
    /// The statement.
    pub fn sql(&self) -> String {
        let mode = if self.is_exclusive { "access exclusive" } else { "share row exclusive" };
        format!("lock table {} in {mode} mode;\n", self.table)
    }
}

impl Plan {
    /// Whoever wants to write to a table waits behind us, so we do not wait long.
    pub fn opening(&self) -> String {
        "set local lock_timeout = '500ms';\n".to_owned()
    }

    /// All of it, for psql.
    pub fn sql(&self) -> String {
        let locks: String = self.locks.iter().map(Lock::sql).collect();
        let steps: String = self.steps.iter().map(|(doing, sql)| format!("\n-- {doing}\n{sql}")).collect();
        format!("begin;\n{}{locks}{steps}\ncommit;\n", self.opening())
    }

    fn step(&mut self, doing: impl Into<String>, sql: impl Into<String>) {
        self.steps.push((doing.into(), sql.into()));
    }

    fn lock(&mut self, table: &str, is_exclusive: bool) {
        match self.locks.iter_mut().find(|lock| lock.table == table) {
            Some(lock) => lock.is_exclusive |= is_exclusive,
            None => self.locks.push(Lock { table: table.to_owned(), is_exclusive }),
        }
    }

    fn drop_trigger(&mut self, name: &str, table: &str) {
        self.lock(table, true);
        self.step(format!("remove trigger {name}"), format!("drop trigger {} on {table};\n", identifier(name)));
    }
}

/// A capture function that is there, and its triggers.
struct Installed {
    function: String,
    body: String,
    comment: String,
    triggers: Vec<InstalledTrigger>,
}

struct InstalledTrigger {
    name: String,
    table: String,
    is_row: bool,
    is_enabled: bool,
}

/// What it takes to get from what is installed to what the mapping says.
pub(crate) async fn attach(transaction: &Transaction<'_>, mapping: &Mapping) -> Result<Plan, SourceError> {
    let survey = check::survey(transaction, mapping).await.map_err(|source| failed("check the mapping", source))?;
    if !survey.findings.is_empty() {
        return Err(SourceError::Findings(Problems(survey.findings)));
    }
    let installed = installed(transaction, &mapping.name).await?;
    let mut plan = Plan::default();
    let mut wanted = Vec::new();
    for (name, table, rungs) in &survey.tables {
        try_out(transaction, table, rungs, &mapping.levels).await?;
        let installation = trigger::generate(&mapping.name, name, table, rungs, &mapping.levels);
        install(&mut plan, &installation, installed.iter().find(|known| known.function == installation.function));
        wanted.push(installation.function);
    }
    for known in installed.iter().filter(|known| !wanted.contains(&known.function)) {
        remove(&mut plan, &mapping.name, known);
    }
    let tables = [&mapping.mqtt_publishers, &mapping.webhooks];
    let tables: Vec<&TableName> = tables.into_iter().flatten().collect();
    destinations(transaction, &mut plan, &mapping.name, &tables).await?;
    plan.step(format!("note source {}", mapping.name), note(mapping));
    plan.locks.sort();
    Ok(plan)
}

/// What it takes to remove a source.
pub(crate) async fn detach(transaction: &Transaction<'_>, name: &str) -> Result<Plan, SourceError> {
    let installed = installed(transaction, name).await?;
    let is_noted = transaction
        .query_opt("select from andon.sources where name = $1", &[&name])
        .await
        .map_err(|source| failed("read andon.sources", source))?
        .is_some();
    if installed.is_empty() && !is_noted {
        return Err(SourceError::Unknown(name.to_owned()));
    }
    let mut plan = Plan::default();
    for known in &installed {
        remove(&mut plan, name, known);
    }
    destinations(transaction, &mut plan, name, &[]).await?;
    plan.step(format!("forget source {name}"), format!("delete from andon.sources where name = {};\n", literal(name)));
    plan.locks.sort();
    Ok(plan)
}

/// Each expression has been checked alone; this is the proof that they go together. Left to the trigger, a fault would show only when
/// the plant works.
async fn try_out(
    transaction: &Transaction<'_>,
    table: &Table,
    rungs: &[Rung],
    levels: &[(String, String)],
) -> Result<(), SourceError> {
    for operation in
        Operation::ALL.into_iter().filter(|operation| rungs.iter().any(|rung| rung.operation == *operation))
    {
        let rows = match operation {
            Operation::Insert => format!("{} as new", table.sql),
            Operation::Update => format!("{0} as new cross join {0} as old", table.sql),
            Operation::Delete => format!("{} as old", table.sql),
        };
        let key = if table.firing == Firing::Statement { table.key.as_slice() } else { &[] };
        let insert = event::insert(rungs, operation, key, levels, &rows);
        let doing = || format!("put the captures of each {} of {} together", operation.name(), table.sql);
        transaction.prepare(&insert).await.map_err(|source| failed(&doing(), source))?;
    }
    Ok(())
}

fn install(plan: &mut Plan, wanted: &Installation, known: Option<&Installed>) {
    let is_function_there = known.is_some_and(|known| known.body == wanted.body && known.comment == wanted.comment);
    let triggers = known.map_or(&[] as &[InstalledTrigger], |known| &known.triggers);
    let missing: Vec<_> = wanted
        .triggers
        .iter()
        .filter(|trigger| {
            !triggers.iter().any(|known| {
                known.name == trigger.name
                    && known.table == trigger.table
                    && known.is_row == wanted.is_row
                    && known.is_enabled
            })
        })
        .collect();
    let superfluous: Vec<_> = triggers
        .iter()
        .filter(|known| {
            !wanted.triggers.iter().any(|trigger| trigger.name == known.name && trigger.table == known.table)
        })
        .collect();
    if !is_function_there {
        plan.step(format!("capture {}", wanted.table), wanted.create_function.clone());
    }
    for trigger in &missing {
        plan.lock(&trigger.table, false);
        plan.step(format!("let it run on {}", trigger.table), trigger.create.clone());
    }
    for trigger in &superfluous {
        plan.drop_trigger(&trigger.name, &trigger.table);
    }
    let change = match known {
        None => Change::Created,
        Some(_) if is_function_there && missing.is_empty() && superfluous.is_empty() => Change::Unchanged,
        Some(_) => Change::Replaced,
    };
    plan.changes.push((wanted.table.clone(), change));
}

fn remove(plan: &mut Plan, source: &str, known: &Installed) {
    for trigger in &known.triggers {
        plan.drop_trigger(&trigger.name, &trigger.table);
    }
    let table = known.comment.trim_start_matches(&trigger::mark(source));
    let table = table.rsplit_once(" [").map_or(table, |(table, _)| table);
    plan.step(format!("no longer capture {table}"), format!("drop function {}();\n", known.function));
    plan.changes.push((table.to_owned(), Change::Dropped));
}

/// The trigger that tells the daemon of a changed destination sits on the source's own tables, as long as a source names them.
async fn destinations(
    transaction: &Transaction<'_>,
    plan: &mut Plan,
    source: &str,
    wanted: &[&TableName],
) -> Result<(), SourceError> {
    let reading = |source| failed("read the destinations' triggers", source);
    let known: Vec<(String, String, bool)> = transaction
        .query(
            "select n.nspname::text, c.relname::text,
                    exists (select from andon.sources s where s.name <> $1
                            and n.nspname || '.' || c.relname in (s.mqtt_publishers, s.webhooks))
             from pg_trigger t join pg_class c on c.oid = t.tgrelid join pg_namespace n on n.oid = c.relnamespace
             where t.tgname = 'andon_destinations' and t.tgparentid = 0 and n.nspname <> 'andon' order by 1, 2",
            &[&source],
        )
        .await
        .map_err(reading)?
        .iter()
        .map(|row| (row.get(0), row.get(1), row.get(2)))
        .collect();
    for table in wanted {
        if known.iter().any(|(schema, name, _)| *schema == table.schema && *name == table.table) {
            continue;
        }
        plan.lock(&table.sql(), false);
        plan.step(
            format!("watch the destinations in {table}"),
            format!(
                "create or replace trigger andon_destinations after insert or update or delete or truncate on {}\n    \
                 for each statement execute function andon.destinations_changed();\n",
                table.sql()
            ),
        );
    }
    for (schema, name, is_of_another) in known {
        let is_wanted = wanted.iter().any(|table| table.schema == schema && table.table == name);
        if !is_wanted && !is_of_another {
            plan.drop_trigger("andon_destinations", &format!("{}.{}", identifier(&schema), identifier(&name)));
        }
    }
    Ok(())
}

/// Writes only what differs, so that attaching again wakes nobody.
fn note(mapping: &Mapping) -> String {
    let optional = |table: &Option<TableName>| {
        table.as_ref().map_or("null".to_owned(), |table| literal(&table.to_string()).trim_start().to_owned())
    };
    format!(
        "insert into andon.sources (name, profile, mapping, mqtt_publishers, webhooks)
values ({}, {}, {}, {}, {})
on conflict (name) do update
set profile = excluded.profile, mapping = excluded.mapping, mqtt_publishers = excluded.mqtt_publishers,
    webhooks = excluded.webhooks, attached_at = excluded.attached_at
where (sources.profile, sources.mapping, sources.mqtt_publishers, sources.webhooks)
    is distinct from (excluded.profile, excluded.mapping, excluded.mqtt_publishers, excluded.webhooks);
",
        literal(&mapping.name),
        literal(mapping.profile.name()),
        literal(&mapping.text),
        optional(&mapping.mqtt_publishers),
        optional(&mapping.webhooks),
    )
}

async fn installed(transaction: &Transaction<'_>, source: &str) -> Result<Vec<Installed>, SourceError> {
    let reading = |source| failed("read the installed captures", source);
    let functions = transaction
        .query(
            "select p.oid, p.proname::text, p.prosrc, d.description
             from pg_proc p join pg_namespace n on n.oid = p.pronamespace
             join pg_description d on d.objoid = p.oid and d.classoid = 'pg_proc'::regclass
             where n.nspname = 'andon' and starts_with(d.description, $1) order by 2",
            &[&trigger::mark(source)],
        )
        .await
        .map_err(reading)?;
    let mut installed = Vec::new();
    for function in functions {
        let oid: u32 = function.get(0);
        let triggers = transaction
            .query(
                "select t.tgname::text, n.nspname::text, c.relname::text, t.tgtype & 1 = 1, t.tgenabled in ('O', 'A')
                 from pg_trigger t join pg_class c on c.oid = t.tgrelid join pg_namespace n on n.oid = c.relnamespace
                 where t.tgfoid = $1 and t.tgparentid = 0 order by 1, 2, 3",
                &[&oid],
            )
            .await
            .map_err(reading)?;
        installed.push(Installed {
            function: format!("andon.{}", identifier(function.get(1))),
            body: function.get(2),
            comment: function.get(3),
            triggers: triggers.iter().map(installed_trigger).collect(),
        });
    }
    Ok(installed)
}

fn installed_trigger(row: &Row) -> InstalledTrigger {
    InstalledTrigger {
        name: row.get(0),
        table: format!("{}.{}", identifier(row.get(1)), identifier(row.get(2))),
        is_row: row.get(3),
        is_enabled: row.get(4),
    }
}
