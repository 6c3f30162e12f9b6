//! Who could act as the role that attaches. In: that role, and what its functions will read. Out: the owners that could slip in code of
//! their own: a table can be swapped for a view that calls a function, a type can get a cast, and a function another body, and all of that
//! would run with the rights of the role that owns the capture functions. So would an operator that somebody makes where they count. It only reads; what it makes goes with its savepoint.

use std::collections::BTreeSet;

use tokio_postgres::Error;
use tokio_postgres::Transaction;

use crate::capture::error::SourceError;
use crate::capture::mapping::Mapping;
use crate::capture::mapping::Operation;
use crate::capture::plan::Wanted;
use crate::capture::sql::event;

/// The owners that are neither the role, nor a superuser, nor allowed to become the role anyway, each with what it owns. It begins with these
/// relations, and goes through what their views read, to the types of their columns and what those consist of.
const UNTRUSTED: &str = "
    with recursive used (class, oid) as (
        select 'pg_class'::regclass::oid, relation from unnest($2::oid[]) relation
        union
        select next.class, next.oid from used cross join lateral (
            select d.refclassid as class, d.refobjid as oid from pg_rewrite r
            join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid
            where used.class = 'pg_class'::regclass and r.ev_class = used.oid
            union all
            select 'pg_type'::regclass::oid, a.atttypid from pg_attribute a
            where used.class = 'pg_class'::regclass and a.attrelid = used.oid and a.attnum > 0 and not a.attisdropped
            union all
            select 'pg_type'::regclass::oid, unnest(array[t.typelem, t.typbasetype]) from pg_type t
            where used.class = 'pg_type'::regclass and t.oid = used.oid
            union all
            select 'pg_class'::regclass::oid, t.typrelid from pg_type t
            where used.class = 'pg_type'::regclass and t.oid = used.oid and t.typtype = 'c'
            union all
            select 'pg_type'::regclass::oid, r.rngsubtype from pg_range r
            where used.class = 'pg_type'::regclass and r.rngtypid = used.oid
            union all
            select 'pg_proc'::regclass::oid, o.oprcode::oid from pg_operator o
            where used.class = 'pg_operator'::regclass and o.oid = used.oid
        ) next
    ), owned (owner, name) as (
        select c.relowner, format('table %s', c.oid::regclass) from used join pg_class c on c.oid = used.oid
        where used.class = 'pg_class'::regclass and c.relpersistence <> 't' and c.relkind <> 'c'
        union
        select t.typowner, format('type %s', format_type(t.oid, null)) from used join pg_type t on t.oid = used.oid
        where used.class = 'pg_type'::regclass and t.typelem = 0 and t.typtype <> 'p'
          and not exists (select from pg_class c where c.oid = t.typrelid and c.relkind <> 'c')
        union
        select p.proowner, format('function %s', p.oid::regprocedure) from used join pg_proc p on p.oid = used.oid
        where used.class = 'pg_proc'::regclass and p.pronamespace <> 'andon'::regnamespace
        union
        -- Who owns a schema may drop what is in it and put something else there. The owner of the database may do that in any schema of his.
        select n.nspowner, format('schema %I', n.nspname) from pg_namespace n
        where n.nspname <> 'andon' and n.nspowner is distinct from to_regrole('pg_database_owner')::oid and (
            n.oid in (select c.relnamespace from used join pg_class c on c.oid = used.oid where used.class = 'pg_class'::regclass and c.relpersistence <> 't')
            or n.oid in (select t.typnamespace from used join pg_type t on t.oid = used.oid where used.class = 'pg_type'::regclass)
            or n.oid in (select p.pronamespace from used join pg_proc p on p.oid = used.oid where used.class = 'pg_proc'::regclass))
    )
    select quote_ident(r.rolname), string_agg(o.name, ', ' order by o.name)
    from owned o join pg_roles r on r.oid = o.owner
    where not r.rolsuper and not pg_has_role(r.oid, $1::name, 'member')
    group by r.rolname order by r.rolname";

/// Those who may create functions and operators in these schemas, and are not trusted either. In the search path of a function, what they make
/// could take the place of what the expressions mean.
const MAKERS: &str = "
    with makers as (
        select n.nspname, a.grantee,
            case when a.grantee = to_regrole('pg_database_owner')::oid then d.datdba else a.grantee end as role
        from pg_namespace n join pg_database d on d.datname = current_database()
        cross join aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a
        where n.nspname = any ($2::text[]) and a.privilege_type = 'CREATE'
    )
    select coalesce(quote_ident(r.rolname), 'everybody'), coalesce(quote_ident(g.rolname), 'public'), quote_ident(m.nspname)
    from makers m left join pg_roles r on r.oid = m.role left join pg_roles g on g.oid = m.grantee
    where m.role = 0 or (not r.rolsuper and not pg_has_role(r.oid, $1::name, 'member'))
    order by 3, 1";

/// Returns the owners that could act as a role, each with what it owns, for example `eve owns table public.cells`. Without a role it is the
/// current one. The functions that the expressions call are looked at as well, which takes views for the time of the look; another role may not
/// be allowed to make them, and then only the expressions of these go unseen.
pub(super) async fn untrusted(
    transaction: &Transaction<'_>,
    mapping: &Mapping,
    wanted: &Wanted,
    role: Option<&str>,
) -> Result<Vec<String>, SourceError> {
    let begun = transaction.batch_execute("savepoint andon_owners").await;
    begun.map_err(|error| SourceError::database("look for the owners", error))?;
    let found = look(transaction, mapping, wanted, role).await;
    let undone = transaction.batch_execute("rollback to savepoint andon_owners; release savepoint andon_owners").await;
    undone.map_err(|error| SourceError::database("end the look for the owners", error))?;
    found.map_err(|error| SourceError::database("look for the owners of what the mapping reads", error))
}

async fn look(
    transaction: &Transaction<'_>,
    mapping: &Mapping,
    wanted: &Wanted,
    role: Option<&str>,
) -> Result<Vec<String>, Error> {
    let mut tables: Vec<String> = wanted.tables.iter().map(|captured| captured.table.sql.clone()).collect();
    let rules = wanted.tables.iter().flat_map(|captured| &captured.rules);
    tables.extend(rules.flat_map(|rule| &rule.lookups).map(|lookup| lookup.table.sql()));
    let temporary = "select has_database_privilege(current_database(), 'temporary')";
    if transaction.query_one(temporary, &[]).await?.get(0) {
        // PostgreSQL notes for a view which functions, operators and types its expressions call.
        for (number, (settings, select)) in selects(mapping, wanted).iter().enumerate() {
            let name = format!("pg_temp.andon_owners_{number}");
            let view = format!("{settings}create temp view {name} as {select}");
            match transaction
                .batch_execute(&format!("savepoint andon_view; {view}; release savepoint andon_view"))
                .await
            {
                Ok(()) => tables.push(name),
                Err(error) if role.is_none() => return Err(error),
                Err(_) => transaction.batch_execute("rollback to savepoint andon_view").await?,
            }
        }
    }
    let sql = "select array_agg(name::regclass::oid) from unnest($1::text[]) name";
    let relations: Option<Vec<u32>> = transaction.query_one(sql, &[&tables]).await?.get(0);
    let role: String = transaction.query_one("select coalesce($1, current_user::text)", &[&role]).await?.get(0);
    let rows = transaction.query(UNTRUSTED, &[&role, &relations.unwrap_or_default()]).await?;
    let mut untrusted: Vec<String> =
        rows.iter().map(|row| format!("{} owns {}", row.get::<_, &str>(0), row.get::<_, &str>(1))).collect();
    let rules = wanted.tables.iter().flat_map(|captured| &captured.rules);
    let schemas: BTreeSet<&String> = rules.flat_map(|rule| &rule.pins.schemas).collect();
    let schemas: Vec<&String> = schemas.into_iter().collect();
    let rows = transaction.query(MAKERS, &[&role, &schemas]).await?;
    untrusted.extend(rows.iter().map(|row| {
        let (maker, grantee, schema): (&str, &str, &str) = (row.get(0), row.get(1), row.get(2));
        format!(
            "{maker} may create functions in schema {schema}, where operators are that the expressions need; \
             run `revoke create on schema {schema} from {grantee}`, or move the extension to a schema of its own"
        )
    }));
    Ok(untrusted)
}

/// Returns the queries that make the events of each table, each with the statements that give the transaction the settings of the function.
fn selects(mapping: &Mapping, wanted: &Wanted) -> Vec<(String, String)> {
    let mut selects = Vec::new();
    for captured in &wanted.tables {
        let table = &captured.table.sql;
        for operation in Operation::ALL {
            if captured.rules.iter().all(|rule| rule.operation != operation) {
                continue;
            }
            let rows = operation.rows_of(table);
            let insert = event::insert(&captured.rules, operation, &[], &mapping.levels, &rows);
            let select = insert.trim_end().trim_end_matches(';').split_once("\nselect ");
            let settings = event::pins(&captured.rules).statements();
            selects.extend(select.map(|(_, rest)| (settings, format!("select {rest}"))));
        }
    }
    selects
}
