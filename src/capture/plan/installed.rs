//! What is installed for a source. In: the system catalogue. Out: the functions that belong to the source, and the triggers that run them
//! under the names that their tables have now, or that stand in the place of one that is wanted. It only reads.

use std::collections::BTreeSet;

use tokio_postgres::Row;
use tokio_postgres::Transaction;

use crate::capture::error::SourceError;
use crate::capture::plan::definition;
use crate::capture::sql::quote::identifier;
use crate::capture::sql::trigger;

/// The functions and triggers of a source.
#[derive(Debug, Default)]
pub(super) struct Installed {
    pub(super) functions: Vec<InstalledFunction>,
    pub(super) triggers: Vec<InstalledTrigger>,
}

/// An installed capture function.
#[derive(Debug, Clone)]
pub(super) struct InstalledFunction {
    /// The function, as SQL.
    pub(super) function: String,
    pub(super) body: String,
    pub(super) comment: String,
    /// The settings that it pins, in the form of [`definition::setting`].
    pub(super) settings: BTreeSet<String>,
    /// Whether it runs with the rights of its owner.
    pub(super) is_definer: bool,
    pub(super) owner: String,
    /// Whether everybody may put it on a table.
    pub(super) is_public: bool,
}

/// A trigger that runs such a function, or has the name of one that does.
#[derive(Debug, Clone)]
pub(super) struct InstalledTrigger {
    pub(super) name: String,
    /// The table that has the trigger, as SQL.
    pub(super) table: String,
    /// The function that it runs, as SQL.
    pub(super) function: String,
    /// Its definition, in the form of [`definition::trigger`].
    pub(super) definition: String,
    pub(super) firing: Firing,
    /// The partitions on which it does not fire although it does on their parent, as SQL.
    pub(super) silent_partitions: Vec<String>,
}

/// In which sessions a trigger fires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Firing {
    /// In those that write for themselves, or in all of them.
    Normal,
    /// Only in those that apply what was written elsewhere: `enable replica trigger`.
    ReplicaOnly,
    /// In none.
    Disabled,
}

impl Firing {
    fn of(tgenabled: &str) -> Firing {
        match tgenabled {
            "D" => Firing::Disabled,
            "R" => Firing::ReplicaOnly,
            _ => Firing::Normal,
        }
    }
}

/// Reads what belongs to a source. Its functions are known by their comments, and those that have lost their comment by the names `wanted`.
pub(super) async fn read(
    transaction: &Transaction<'_>,
    source: &str,
    wanted: &[String],
) -> Result<Installed, SourceError> {
    let failed = |error| SourceError::database("read the installed captures", error);
    let rows = transaction
        .query(
            "select n.nspname::text, p.proname::text, p.prosrc, coalesce(d.description, ''), coalesce(p.proconfig, '{}'),
                    p.prosecdef, pg_get_userbyid(p.proowner)::text,
                    exists (select from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) where grantee = 0)
             from pg_proc p join pg_namespace n on n.oid = p.pronamespace
             left join pg_description d on d.objoid = p.oid and d.classoid = 'pg_proc'::regclass and d.objsubid = 0
             where p.pronargs = 0 and p.prorettype = 'trigger'::regtype
               and (starts_with(d.description, $1) or n.nspname = 'andon') order by 1, 2",
            &[&trigger::comment_prefix(source)],
        )
        .await
        .map_err(failed)?;
    let prefix = trigger::comment_prefix(source);
    let functions: Vec<InstalledFunction> = rows.iter().map(function_of_row).collect();
    let functions: Vec<InstalledFunction> =
        functions.into_iter().filter(|it| it.comment.starts_with(&prefix) || wanted.contains(&it.function)).collect();
    // The triggers on partitions are copies of the one on their parent, and the chunks of TimescaleDB have copies as well.
    let rows = transaction
        .query(
            "select t.tgname::text, n.nspname::text, c.relname::text, fn.nspname::text, p.proname::text,
                    pg_get_triggerdef(t.oid), t.tgenabled::text, t.tgparentid <> 0
             from pg_trigger t join pg_class c on c.oid = t.tgrelid join pg_namespace n on n.oid = c.relnamespace
             join pg_proc p on p.oid = t.tgfoid join pg_namespace fn on fn.oid = p.pronamespace
             where (t.tgparentid <> 0 or not t.tgisinternal) and n.nspname <> '_timescaledb_internal'
               and (fn.nspname = 'andon' or t.tgname like '%andon\\_%' or exists (
                   select from pg_description d where d.objoid = p.oid and d.classoid = 'pg_proc'::regclass
                   and starts_with(d.description, $1)))
             order by 1, 2, 3",
            &[&prefix],
        )
        .await
        .map_err(failed)?;
    let mut triggers: Vec<InstalledTrigger> =
        rows.iter().filter(|row| !row.get::<_, bool>(7)).map(trigger_of_row).collect();
    for copy in rows.iter().filter(|row| row.get(7)).map(trigger_of_row) {
        let is_original = |it: &&mut InstalledTrigger| it.name == copy.name && it.function == copy.function;
        if copy.firing != Firing::Normal
            && let Some(original) = triggers.iter_mut().find(is_original)
        {
            original.silent_partitions.push(copy.table);
        }
    }
    Ok(Installed { functions, triggers })
}

fn function_of_row(row: &Row) -> InstalledFunction {
    InstalledFunction {
        function: qualified(row.get(0), row.get(1)),
        body: row.get(2),
        comment: row.get(3),
        settings: row.get::<_, Vec<String>>(4).iter().map(|setting| definition::setting(setting)).collect(),
        is_definer: row.get(5),
        owner: row.get(6),
        is_public: row.get(7),
    }
}

fn trigger_of_row(row: &Row) -> InstalledTrigger {
    InstalledTrigger {
        name: row.get(0),
        table: qualified(row.get(1), row.get(2)),
        function: qualified(row.get(3), row.get(4)),
        definition: definition::trigger(row.get(5)),
        firing: Firing::of(row.get(6)),
        silent_partitions: Vec::new(),
    }
}

fn qualified(schema: &str, name: &str) -> String {
    format!("{}.{}", identifier(schema), identifier(name))
}
