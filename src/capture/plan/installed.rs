//! The captures of a source that are installed. In: the system catalogue. Out: the functions that belong to the source, each with its
//! triggers. It only reads.

use tokio_postgres::Row;
use tokio_postgres::Transaction;

use crate::capture::error::SourceError;
use crate::capture::sql::quote::identifier;
use crate::capture::sql::trigger;

/// An installed capture function and its triggers.
pub(super) struct InstalledCapture {
    /// The function, as SQL.
    pub(super) function: String,
    pub(super) body: String,
    pub(super) comment: String,
    pub(super) triggers: Vec<InstalledTrigger>,
}

/// A trigger that runs the function.
pub(super) struct InstalledTrigger {
    pub(super) name: String,
    /// The table that has the trigger, as SQL.
    pub(super) table: String,
    pub(super) is_row_level: bool,
    pub(super) is_enabled: bool,
}

/// Reads the captures of a source, which the comments of their functions name.
pub(super) async fn read(transaction: &Transaction<'_>, source: &str) -> Result<Vec<InstalledCapture>, SourceError> {
    let failed = |error| SourceError::database("read the installed captures", error);
    let functions = transaction
        .query(
            "select p.oid, p.proname::text, p.prosrc, d.description
             from pg_proc p join pg_namespace n on n.oid = p.pronamespace
             join pg_description d on d.objoid = p.oid and d.classoid = 'pg_proc'::regclass
             where n.nspname = 'andon' and starts_with(d.description, $1) order by 2",
            &[&trigger::comment_prefix(source)],
        )
        .await
        .map_err(failed)?;
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
            .map_err(failed)?;
        installed.push(InstalledCapture {
            function: format!("andon.{}", identifier(function.get(1))),
            body: function.get(2),
            comment: function.get(3),
            triggers: triggers.iter().map(trigger_of_row).collect(),
        });
    }
    Ok(installed)
}

fn trigger_of_row(row: &Row) -> InstalledTrigger {
    InstalledTrigger {
        name: row.get(0),
        table: format!("{}.{}", identifier(row.get(1)), identifier(row.get(2))),
        is_row_level: row.get(3),
        is_enabled: row.get(4),
    }
}
