//! The SQL of `andon grants`. In: a role and its rights. Out: one transaction, which psql runs or gives up as a whole. Every name is quoted.

use crate::capture::sql::quote::dollar_quote;
use crate::capture::sql::quote::identifier;
use crate::capture::sql::quote::literal;
use crate::cli::grants::rights::Rights;

/// Returns the SQL that gives a role these rights in schema `andon`, and takes away all others.
pub(super) fn of(role: &str, rights: &Rights, purpose: &str) -> String {
    let name = identifier(role);
    let mut sql = format!(
        "\\set ON_ERROR_STOP on
{purpose}
-- Run it with psql as a superuser or as the owner of schema andon, who has to make the role beforehand if he may make none. Run it again
-- after `andon migrate` and `andon attach`: it also takes away what the role has too much.
begin;
{}
revoke all on schema andon from {name};
revoke all on all tables in schema andon from {name};
revoke all on all sequences in schema andon from {name};
revoke all on all functions in schema andon from {name};
{}
grant usage on schema andon to {name};
",
        role_exists(role),
        no_defaults(role),
    );
    for (privileges, columns, table) in rights.tables {
        let columns = if columns.is_empty() { String::new() } else { format!(" ({columns})") };
        sql.push_str(&format!("grant {privileges}{columns} on {table} to {name};\n"));
    }
    sql.push_str(&format!("grant execute on function\n    {}\n    to {name};\n", rights.functions.join(",\n    ")));
    if rights.reads_all {
        sql.push_str(&reads_all(role));
    }
    sql.push_str("commit;\n");
    sql
}

/// Makes the role, unless it exists. Whoever owns the schema loses nothing by a revoke and needs no grant, so it is refused.
fn role_exists(role: &str) -> String {
    block(&format!(
        "
begin
    if not exists (select from pg_roles where rolname = {0}) then
        create role {1} login;
    elsif pg_has_role({0}, (select nspowner from pg_namespace where nspname = 'andon'), 'usage') then
        raise exception '% owns schema andon or is a superuser; name a role of its own', {0};
    end if;
end ",
        literal(role).trim_start(),
        identifier(role),
    ))
}

/// Takes back what earlier grants gave on tables to come.
fn no_defaults(role: &str) -> String {
    block(&format!(
        "
declare
    one record;
begin
    for one in
        select distinct d.defaclrole::regrole as owner from pg_default_acl d join pg_namespace n on n.oid = d.defaclnamespace
        where n.nspname = 'andon' and pg_has_role(d.defaclrole, 'usage')
    loop
        execute format('alter default privileges for role %s in schema andon revoke all on tables from %I', one.owner, {0});
    end loop;
end ",
        literal(role).trim_start(),
    ))
}

/// Lets the role read the partitions of the log, the tables that hold the destinations of a source, and the schemas of attached tables, whose
/// triggers it compares. New partitions have the rights of the log itself. What another owner has to grant is a warning.
fn reads_all(role: &str) -> String {
    let body = format!(
        "
declare
    one record;
begin
    for one in
        select format('select on %s', i.inhrelid::regclass) as wanted, c.relowner as owner, 'table' as kind
        from pg_inherits i join pg_class c on c.oid = i.inhrelid where i.inhparent = 'andon.events'::regclass
        union
        select format('select on %s', c.oid::regclass), c.relowner, 'table'
        from andon.sources s join pg_class c on c.oid in (to_regclass(s.mqtt_publishers), to_regclass(s.webhooks))
        union
        select format('usage on schema %I', n.nspname), n.nspowner, 'schema'
        from pg_trigger t join pg_proc p on p.oid = t.tgfoid and p.pronamespace = 'andon'::regnamespace
        join pg_class c on c.oid = t.tgrelid join pg_namespace n on n.oid = c.relnamespace and n.nspname <> 'andon'
        order by kind, wanted
    loop
        if pg_has_role(one.owner, 'usage') then
            execute format('grant %s to %I', one.wanted, {0});
        else
            raise warning '% is to run: grant % to %', one.owner::regrole, one.wanted, quote_ident({0});
        end if;
    end loop;
end ",
        literal(role).trim_start(),
    );
    format!(
        "-- The partitions of the log, the tables of destinations of attached sources, and the schemas of attached tables.\n{}\n",
        block(&body)
    )
}

fn block(body: &str) -> String {
    let quote = dollar_quote(body);
    format!("do {quote}{body}{quote};")
}
