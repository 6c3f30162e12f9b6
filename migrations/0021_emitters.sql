-- Who may emit for whom. Until now everybody who could reach the schema could raise events of any tenant, and with names that are Andon's own.

create table andon.emitters (
    role   name not null,
    tenant text not null,
    primary key (role, tenant)
);
comment on table andon.emitters is 'Which role may emit events of which tenant with andon.emit; the owner of schema andon may always';
comment on column andon.emitters.role is 'The role, whose members may do the same';
comment on column andon.emitters.tenant is 'The tenant; * is all tenants, and the empty text is events without a tenant';

-- Writes an event that is not too large. It asks nobody who calls it, and so only functions of the owner may.
create function andon.write_event(type text, data jsonb, tenant text, entity_type text, entity_id text, context jsonb) returns uuid
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    made   uuid;
    reason text;
begin
    -- These are the rules of the table. To catch its error instead would cost each event a subtransaction.
    if not andon.is_small_enough(write_event.context, write_event.data) then
        reason := format('context and data have more than %s bytes', andon.max_event());
    elsif greatest(octet_length(write_event.type), octet_length(write_event.tenant), octet_length(write_event.entity_type),
        octet_length(write_event.entity_id)) > 512 then
        reason := 'type, tenant, entity_type or entity_id has more than 512 bytes';
    end if;
    if reason is not null then
        perform andon.capture_failed('andon.emit', left(write_event.type, 200), 'emit',
            concat_ws('/', left(write_event.entity_type, 200), left(write_event.entity_id, 200)), '22001', reason);
        raise warning 'andon.emit: % is not an event: %; see andon.capture_errors', left(write_event.type, 200), reason;
        return null;
    end if;
    insert into andon.events (tenant, type, entity_type, entity_id, context, data)
    values (write_event.tenant, write_event.type, write_event.entity_type, write_event.entity_id, write_event.context, write_event.data)
    returning event_id into made;
    perform andon.ring();
    return made;
end $$;
revoke all on function andon.write_event(text, jsonb, text, text, text, jsonb) from public;

-- What `andon.emit` hands over. A function with the owner's rights cannot tell who calls it: inside of it, the owner is the current user. The
-- default of a column that nobody may write can: it is computed with the rights of the caller, whatever role the session has logged in as.
create view andon.emissions as
    select null::uuid as event_id, null::name as emitter, null::text as type, null::jsonb as data, null::text as tenant,
        null::text as entity_type, null::text as entity_id, null::jsonb as context
    where false;
alter view andon.emissions alter column emitter set default current_user;
comment on view andon.emissions is 'What andon.emit hands over to the log; it is always empty';

create function andon.emitted() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    new.tenant := coalesce(new.tenant, '');
    if new.type is null or new.type !~ '^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$' then
        raise exception 'andon.emit: event type % is not a dotted name such as job.created', coalesce(quote_literal(left(new.type, 100)), 'null')
            using errcode = 'invalid_parameter_value';
    elsif lower(split_part(new.type, '.', 1)) = 'andon' then
        raise exception 'andon.emit: event type % is not yours: names that begin with andon are Andon''s own; choose another',
            quote_literal(left(new.type, 100)) using errcode = 'invalid_parameter_value';
    elsif not pg_has_role(new.emitter, current_user, 'usage') and not exists (
        select from andon.emitters e join pg_roles r on r.rolname = e.role
        where e.tenant in (new.tenant, '*') and pg_has_role(new.emitter, r.oid, 'usage')
    ) then
        raise exception 'andon.emit: role % may not emit events of tenant %; the DBA runs what this prints: andon grants --role % --for emit --tenant %',
            quote_ident(new.emitter), quote_literal(left(new.tenant, 100)), quote_literal(new.emitter), quote_literal(left(new.tenant, 100))
            using errcode = 'insufficient_privilege';
    end if;
    new.event_id := andon.write_event(new.type, coalesce(new.data, '{}'), new.tenant, coalesce(new.entity_type, ''),
        coalesce(new.entity_id, ''), coalesce(new.context, '{}'));
    return case when new.event_id is null then null else new end;
end $$;
revoke all on function andon.emitted() from public;
create trigger emitted instead of insert on andon.emissions for each row execute function andon.emitted();

-- As before, and it runs with the rights of whoever calls it, so that what it writes to knows who that is.
create or replace function andon.emit(
    type text, data jsonb default '{}', tenant text default '', entity_type text default '', entity_id text default '',
    context jsonb default '{}'
) returns uuid
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    made uuid;
begin
    insert into andon.emissions (type, data, tenant, entity_type, entity_id, context)
    values (emit.type, emit.data, emit.tenant, emit.entity_type, emit.entity_id, emit.context)
    returning event_id into made;
    return made;
end $$;

create or replace function andon.emit_disabled(lane text, kind text, since timestamptz) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform andon.write_event('andon.destination.disabled', jsonb_build_object(
        'lane', l.lane, 'name', l.name, 'kind', emit_disabled.kind, 'reason', l.reason, 'since', emit_disabled.since),
        l.tenant, 'destination', l.lane, '{}')
    from andon.lanes l where l.lane = emit_disabled.lane and l.state = 'disabled';
end $$;

-- As before, and names that are Andon's own are refused.
create or replace function andon.event_type(name text) returns text
language plpgsql immutable as $$
begin
    if name collate "C" ~ '^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$' and name collate "C" !~* '^andon(\.|$)' then
        return name;
    elsif name is null then
        raise exception 'type_sql gives null, and an event needs a type' using errcode = '22004';
    end if;
    name := regexp_replace(name collate "C", '[^A-Za-z0-9_.-]+', '_', 'g');
    if name ~ '(^|\.)(\.|$)' then
        raise exception 'type_sql gives %, which is no dotted name such as job.created', quote_literal(left(name, 200)) using errcode = '22023';
    elsif name collate "C" ~* '^andon(\.|$)' then
        raise exception 'type_sql gives %; names that begin with andon are Andon''s own', quote_literal(left(name, 200)) using errcode = '22023';
    end if;
    return name;
end $$;

-- Whoever was granted the function by name may emit for all tenants, as before. Whoever could only by the rights of everybody needs a grant.
do $$
declare
    one record;
begin
    for one in
        select distinct pg_get_userbyid(it.grantee) as role from pg_proc p cross join aclexplode(p.proacl) it
        where p.pronamespace = 'andon'::regnamespace and p.proname = 'emit' and it.grantee not in (0, p.proowner)
    loop
        insert into andon.emitters (role, tenant) values (one.role, '*');
        execute format('grant insert (type, data, tenant, entity_type, entity_id, context), select (event_id) on andon.emissions to %I', one.role);
    end loop;
    revoke execute on function andon.emit from public;
end $$;
