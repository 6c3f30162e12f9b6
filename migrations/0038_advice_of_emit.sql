-- The advice of andon.emit named a command that refuses the tenant where it has a blank at an end, that a shell would read otherwise where it has a
-- quote, and that takes the role's other tenants away.
create or replace function andon.emitted() returns trigger
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
        raise exception 'andon.emit: role % may not emit events of tenant %; %', quote_ident(new.emitter), quote_literal(left(new.tenant, 100)), case
                when new.tenant ~ '^\s|\s$' then 'it has a blank at an end, and no destination has such a tenant: write the tenant_id of the destinations, byte for byte'
                when octet_length(new.tenant) > 512 then 'it is longer than 512 bytes, and no destination has such a tenant'
                else format('the DBA runs what this prints, with --tenant for each other tenant that the role is to keep: andon grants --role %s --for emit --tenant %s',
                    '''' || replace(new.emitter, '''', '''\''''') || '''', '''' || replace(new.tenant, '''', '''\''''') || '''') end
            using errcode = 'insufficient_privilege';
    end if;
    new.event_id := andon.write_event(new.type, coalesce(new.data, '{}'), new.tenant, coalesce(new.entity_type, ''),
        coalesce(new.entity_id, ''), coalesce(new.context, '{}'));
    return case when new.event_id is null then null else new end;
end $$;
