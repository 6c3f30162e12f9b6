//! The triggers and rules that the plant has on a table itself. In: a table of the live database. Out: each of them, as far as it decides in
//! which order the events of one statement come. It only reads the system catalogue.

use tokio_postgres::Error;
use tokio_postgres::Transaction;

use crate::capture::mapping::Operation;

/// A trigger of the plant's own, or a rule of the rewrite system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlantTrigger {
    /// Its name.
    pub name: String,
    /// When it does what it does.
    pub timing: Timing,
    /// The changes for which it does that.
    pub operations: Vec<Operation>,
    /// What it does, as text; of a function in C only its name.
    pub action: String,
}

/// When a trigger fires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timing {
    /// Before the change.
    Before,
    /// After each row, in the order of the names of triggers.
    AfterRow,
    /// After the statement.
    AfterStatement,
    /// At the end of the transaction, unless a session says otherwise.
    Deferred,
    /// It is a rule, whose actions come before an update or a delete and after an insert.
    Rule,
}

impl PlantTrigger {
    /// Returns whether it fires after a change of rows, so that Andon's own trigger has to come first.
    pub fn is_after(&self) -> bool {
        self.timing == Timing::AfterStatement && self.is_of_rows() || self.is_after_row()
    }

    /// Returns whether it fires after each row, so that Andon's own trigger has to do so, too: one for the statement would come later.
    pub fn is_after_row(&self) -> bool {
        matches!(self.timing, Timing::AfterRow | Timing::Deferred) && self.is_of_rows()
    }

    fn is_of_rows(&self) -> bool {
        self.operations.iter().any(|operation| *operation != Operation::Truncate)
    }
}

/// Bits of `pg_trigger.tgtype`.
const ROW: i32 = 1;
const BEFORE: i32 = 1 << 1;
const BITS: [(i32, Operation); 4] = [
    (1 << 2, Operation::Insert),
    (1 << 3, Operation::Delete),
    (1 << 4, Operation::Update),
    (1 << 5, Operation::Truncate),
];

/// Returns the plant's triggers and rules on a table, its partitions and the tables that inherit from it. Andon's own, those of other sources
/// included, what has the name of one, and those that keep foreign keys are none of them.
pub(super) async fn find(transaction: &Transaction<'_>, oid: u32) -> Result<Vec<PlantTrigger>, Error> {
    let rows = transaction
        .query(
            "with recursive family (oid) as (
                 select $1::oid union select i.inhrelid from pg_inherits i join family f on f.oid = i.inhparent
             )
             select t.tgname::text, t.tgtype::int4, t.tginitdeferred, p.prosrc, false
             from family f join pg_trigger t on t.tgrelid = f.oid
             join pg_proc p on p.oid = t.tgfoid join pg_namespace n on n.oid = p.pronamespace
             where not t.tgisinternal and n.nspname <> 'andon' and t.tgname !~ '^!?andon_[a-z0-9-]+_(insert|update|delete|truncate)$' and not exists (
                 select from pg_description d
                 where d.objoid = p.oid and d.classoid = 'pg_proc'::regclass and starts_with(d.description, 'andon source ')
             )
             union
             select r.rulename::text, case r.ev_type when '2' then 16 when '3' then 4 when '4' then 8 else 0 end,
                    false, pg_get_ruledef(r.oid), true
             from family f join pg_rewrite r on r.ev_class = f.oid where not r.is_instead
             order by 1, 2",
            &[&oid],
        )
        .await?;
    let trigger = |row: &tokio_postgres::Row| {
        let tgtype: i32 = row.get(1);
        let timing = match (row.get(4), row.get(2)) {
            (true, _) => Timing::Rule,
            (_, true) => Timing::Deferred,
            _ if tgtype & BEFORE != 0 => Timing::Before,
            _ if tgtype & ROW != 0 => Timing::AfterRow,
            _ => Timing::AfterStatement,
        };
        let operations = BITS.into_iter().filter(|(bit, _)| tgtype & bit != 0).map(|(_, operation)| operation);
        PlantTrigger { name: row.get(0), timing, operations: operations.collect(), action: row.get(3) }
    };
    Ok(rows.iter().map(trigger).collect())
}
