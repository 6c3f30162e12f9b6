//! The role of the capture functions, which cannot log in: `andon_capture`. In: the plan of an attachment by a role that may use it. Out: the steps
//! that let it own the functions, for the length of the transaction, and read the columns that they look up and no more. What somebody slips
//! into a table or a type then runs as a role that nobody can be.

use std::collections::BTreeSet;

use tokio_postgres::Transaction;

use crate::capture::error::SourceError;
use crate::capture::mapping::Mapping;
use crate::capture::plan::install_plan::InstallPlan;
use crate::capture::plan::owner_rights::MissingRight;
use crate::capture::plan::reads::Reads;

/// The role that `andon grants --for capture` makes.
pub(crate) const CAPTURE_ROLE: &str = "andon_capture";

/// The role that is to own the functions of whoever asks.
pub(super) const OWNER: &str = "select case when exists (
        select from pg_roles where rolname = 'andon_capture' and not rolcanlogin and not rolsuper and pg_has_role(current_user, oid, 'member')
    ) then 'andon_capture' else current_user::text end where $1 <> ''";

/// Adds the steps. What can only be granted in schema `andon` is left to its owner.
pub(super) fn plan(plan: &mut InstallPlan, lacking: &mut Vec<MissingRight>) {
    let is_new_owner = |(_, sql): &(String, String)| sql.starts_with("alter function ");
    if plan.functions.iter().any(is_new_owner) {
        // PostgreSQL lets a role own functions only where it may make some. It may for as long as this transaction lasts.
        let (begin, end) =
            ("grant create on schema andon to andon_capture;\n", "revoke create on schema andon from andon_capture;\n");
        plan.functions.insert(0, ("let andon_capture own functions".to_owned(), begin.to_owned()));
        plan.function("andon_capture makes none of its own", end);
    }
    lacking.retain(|right| {
        let is_of_the_plant = !right.of.starts_with("schema andon") && !right.of.contains(" andon.");
        if is_of_the_plant {
            plan.function(format!("let andon_capture read {}", right.of), format!("{};\n", right.grant));
        }
        !is_of_the_plant
    });
}

/// For each of the tables `$3`: the columns that the role may read and no source needs, or all if it may read whole rows; and those that it needs.
/// Only grants are taken back that the current role may take back.
const TOO_MUCH: &str = "
    with judged as (
        select distinct to_regclass(name)::oid as oid from unnest($3::text[]) name where to_regclass(name) is not null
    ), columns as (
        select a.attrelid, a.attname, a.attnum, exists (
                select from unnest($1::text[], $2::text[]) it (name, columns)
                where to_regclass(it.name) = a.attrelid and it.columns::jsonb ? a.attname::text
            ) as is_needed, exists (
                select from aclexplode(a.attacl) g where g.grantee = to_regrole('andon_capture') and g.privilege_type = 'SELECT'
                and pg_has_role(current_user, g.grantor, 'usage')
            ) as is_granted
        from judged join pg_attribute a on a.attrelid = judged.oid where a.attnum > 0 and not a.attisdropped
    )
    select format('table %s', c.oid::regclass), string_agg(quote_ident(it.attname), ', ' order by it.attnum) filter (where it.is_needed)
    from judged join pg_class c using (oid) join columns it on it.attrelid = c.oid
    group by c.oid, c.relacl
    having bool_or(it.is_granted and not it.is_needed) or exists (
        select from aclexplode(c.relacl) g where g.grantee = to_regrole('andon_capture') and g.privilege_type = 'SELECT'
        and pg_has_role(current_user, g.grantor, 'usage')
    )
    order by 1";

/// The schemas of `$1` that the role may use.
const USABLE: &str = "
    select quote_ident(n.nspname) from pg_namespace n cross join aclexplode(n.nspacl) g
    where n.nspname = any ($1) and n.nspname <> 'andon' and g.grantee = to_regrole('andon_capture') and g.privilege_type = 'USAGE'
      and pg_has_role(current_user, g.grantor, 'usage') order by 1";

/// Plans to take back what the role may read and no source needs any more. `mapping` is what this source is from now on; nothing if it goes away.
pub(super) async fn narrow(
    transaction: &Transaction<'_>,
    plan: &mut InstallPlan,
    source: &str,
    mapping: Option<&Mapping>,
) -> Result<(), SourceError> {
    let failed = |error| SourceError::database("look for what andon_capture may read", error);
    let (mut needed, mut touched) = (Reads::default(), Reads::default());
    let (mut used, mut left) = (BTreeSet::new(), BTreeSet::new());
    for row in transaction.query("select name, mapping from andon.sources", &[]).await.map_err(failed)? {
        // What cannot be read may need anything.
        let Ok(attached) = Mapping::parse(row.get(0), row.get(1)) else { return Ok(()) };
        let is_this = row.get::<_, &str>(0) == source;
        let (reads, schemas) = if is_this { (&mut touched, &mut left) } else { (&mut needed, &mut used) };
        reads.add(&attached);
        schemas.extend(schemas_of(&attached));
    }
    if let Some(mapping) = mapping {
        needed.add(mapping);
        touched.add(mapping);
        used.extend(schemas_of(mapping));
    }
    let ((needed, columns), (touched, _)) = (needed.lists(), touched.lists());
    for row in transaction.query(TOO_MUCH, &[&needed, &columns, &touched]).await.map_err(failed)? {
        let (table, columns): (&str, Option<&str>) = (row.get(0), row.get(1));
        let revoke = format!("revoke select on {table} from andon_capture;\n");
        let grant = columns.map(|it| format!("grant select ({it}) on {table} to andon_capture;\n"));
        plan.function(format!("let andon_capture read of {table} what is needed"), revoke + &grant.unwrap_or_default());
    }
    let unused: Vec<&String> = left.difference(&used).collect();
    for row in transaction.query(USABLE, &[&unused]).await.map_err(failed)? {
        let schema: &str = row.get(0);
        let revoke = format!("revoke usage on schema {schema} from andon_capture;\n");
        plan.step(format!("andon_capture has no business in schema {schema}"), revoke);
    }
    Ok(())
}

fn schemas_of(mapping: &Mapping) -> impl Iterator<Item = String> {
    let tables = mapping.captures.iter().flat_map(|capture| {
        let looked_up = capture.lookups.iter().flat_map(|lookup| lookup.table.each());
        capture.table.each().chain(looked_up)
    });
    tables.map(|table| table.schema.clone()).collect::<Vec<_>>().into_iter()
}
