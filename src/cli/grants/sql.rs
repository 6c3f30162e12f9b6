//! The SQL of `andon grants`. In: a role and its rights. Out: one transaction, which psql runs or gives up as a whole. Every name is quoted.

use crate::capture::sql::quote::dollar_quote;
use crate::capture::sql::quote::identifier;
use crate::capture::sql::quote::literal;
use crate::cli::grants::rights::Rights;

/// What all of it begins with: psql must not go on after an error, with half of the rights.
const HEAD: &str = "\\set ON_ERROR_STOP on
-- Run it with psql as a superuser or as the owner of schema andon, who has to make the role beforehand if he may make none.
";

/// Whatever others have put into the schemas of a DBA's search path, such as a function `format`, has no part in it.
const BEGIN: &str = "begin;
set local search_path = pg_catalog, pg_temp;
";

/// Returns the SQL that lets a role emit events of these tenants and of no others.
pub(super) fn emit(role: &str, tenants: &[String]) -> String {
    let (name, text) = (identifier(role), literal(role));
    let text = text.trim_start();
    let rows: Vec<String> =
        tenants.iter().map(|tenant| format!("({text}, {})", literal(tenant).trim_start())).collect();
    format!(
        "{HEAD}-- What an application needs to raise events with andon.emit. Its other rights stay as they are.
{BEGIN}{}
grant usage on schema andon to {name};
grant execute on function andon.emit(text, jsonb, text, text, text, jsonb) to {name};
grant insert (type, data, tenant, entity_type, entity_id, context), select (event_id) on andon.emissions to {name};
delete from andon.emitters where role = {text};
insert into andon.emitters (role, tenant) values {} on conflict do nothing;
commit;
",
        role_exists(role, false),
        rows.join(", "),
    )
}

/// Returns the SQL that makes the role of the capture functions, and lets the owner of tables give it functions.
pub(super) fn capture(owner: &str) -> String {
    let name = identifier(owner);
    let body = format!(
        "
begin
    -- Whoever may make functions there could make one that a function of its owner calls.
    if not pg_has_role({text}, (select nspowner from pg_namespace where nspname = 'andon'), 'usage') then
        raise exception '% does not own schema andon; attach as the role that ran andon migrate, and name that one', {text};
    end if;
    if not exists (select from pg_roles where rolname = 'andon_capture') then
{}        create role andon_capture nologin noinherit;
    elsif exists (select from pg_roles where rolname = 'andon_capture' and (rolcanlogin or rolsuper or rolcreaterole)) then
        raise exception 'andon_capture can log in or do more than it should; alter role andon_capture nologin nosuperuser nocreaterole';
    end if;
end ",
        may_make("andon_capture", "nologin noinherit"),
        text = literal(owner).trim_start()
    );
    format!(
        "{HEAD}-- What the owner of tables needs to attach them so that what captures their changes runs as andon_capture, as which nobody can log in. Attach
-- then, or again: it gives andon_capture the functions, and lets it read what they look up.
{BEGIN}{}
grant usage on schema andon to andon_capture;
grant insert (tenant, type, entity_type, entity_id, occurred_at, context, data) on andon.events to andon_capture;
grant execute on function
    andon.capture_failed(text, text, text, text, text, text),
    andon.capture_failed(text, text, text, oid, text[], text, text, jsonb, jsonb),
    andon.event_type(text), andon.failing_lookups(oid, text[], text[]), andon.is_small_enough(jsonb, jsonb),
    andon.lookup_failed(text, text, oid, text, text), andon.max_event(), andon.ring(), andon.row_image(oid, anyelement), andon.row_key(oid, jsonb)
    to andon_capture;
grant andon_capture to {name};
commit;
",
        block(&body),
    )
}

/// Returns the SQL that gives a role these rights in schema `andon`, and takes away all others.
pub(super) fn of(role: &str, rights: &Rights, purpose: &str) -> String {
    let name = identifier(role);
    let mut sql = format!(
        "{HEAD}{purpose}
-- Run it again after `andon attach`, and after an update once no daemon of the earlier version runs: it also takes away what only that one needed.
{BEGIN}{}
delete from andon.emitters where role = {};
revoke all on schema andon from {name};
revoke all on all tables in schema andon from {name};
revoke all on all sequences in schema andon from {name};
revoke all on all functions in schema andon from {name};
{}
grant usage on schema andon to {name};
",
        role_exists(role, true),
        literal(role).trim_start(),
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

/// Makes the role, unless it exists. Where rights are taken away, whoever owns the schema is refused, because he loses nothing by a revoke, and
/// the owner of capture functions too, because he needs his rights.
fn role_exists(role: &str, is_revoked: bool) -> String {
    let refuse = if is_revoked {
        format!(
            "    elsif pg_has_role({0}, (select nspowner from pg_namespace where nspname = 'andon'), 'usage') then
        raise exception '% owns schema andon or is a superuser; name a role of its own', {0};
    elsif exists (select from pg_proc p join pg_namespace n on n.oid = p.pronamespace
        where n.nspname = 'andon' and p.proowner = (select oid from pg_roles where rolname = {0})) then
        raise exception '% owns capture functions, which need its rights; name a role of its own', {0};
",
            literal(role).trim_start()
        )
    } else {
        String::new()
    };
    block(&format!(
        "
begin
    if not exists (select from pg_roles where rolname = {}) then
{}        create role {} login;
{refuse}    end if;
end ",
        literal(role).trim_start(),
        may_make(role, "login"),
        identifier(role),
    ))
}

/// Refuses to make a role where whoever runs the SQL may make none, with what a superuser has to run beforehand.
fn may_make(role: &str, attributes: &str) -> String {
    let make = format!("create role {} {attributes}", identifier(role));
    format!(
        "        if not (select rolsuper or rolcreaterole from pg_roles where rolname = current_user) then
            raise exception '% may make no role; a superuser runs this first: %', current_user, {};
        end if;
",
        literal(&make).trim_start()
    )
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
        select format('usage on schema %I', n.nspname), n.nspowner, 'schema' from andon.sources s
        join pg_class c on c.oid in (to_regclass(s.mqtt_publishers), to_regclass(s.webhooks)) join pg_namespace n on n.oid = c.relnamespace
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
