//! Look-ups from which row-level security hides rows. In: the tables that the look-ups read, and the role whose functions read them. Out: a
//! warning for each, because a row that is hidden is missing from an event without a word. It only reads.

use tokio_postgres::Transaction;

use crate::capture::error::SourceError;

/// The tables whose policies hold for the role, as PostgreSQL decides it: not for a superuser or a role with `bypassrls`, and for whoever may
/// act as the owner only where it is forced.
const HIDING: &str = "
    select distinct name, quote_ident(r.rolname) from unnest($1::text[]) name join pg_class c on c.oid = to_regclass(name)
    join pg_roles r on r.rolname = coalesce($2, current_user::text)
    where c.relrowsecurity and not r.rolsuper and not r.rolbypassrls
      and (c.relforcerowsecurity or not pg_has_role(r.oid, c.relowner, 'usage')) order by 1";

/// Returns a warning for each table of which a function of the role sees some rows only. Without a role it is the current one.
pub(super) async fn hiding(
    transaction: &Transaction<'_>,
    tables: &[String],
    role: Option<&str>,
) -> Result<Vec<String>, SourceError> {
    let rows = transaction.query(HIDING, &[&tables, &role]).await;
    let rows = rows.map_err(|error| SourceError::database("look for row-level security", error))?;
    let warning = |table: &str, role: &str| {
        format!(
            "row-level security of {table} holds for {role}, so that a look-up finds only what the session that writes may see, and levels and fields are \
             missing; run: alter role {role} bypassrls (as a superuser), or attach as a role that sees all rows"
        )
    };
    Ok(rows.iter().map(|row| warning(row.get(0), row.get(1))).collect())
}
