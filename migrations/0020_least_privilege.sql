-- Each role may do what it needs and nothing more; `andon grants` prints it. What `andon run` may not do to a table are functions of the owner.

-- Which NOTIFY channels an attached source has; null: an older version has attached it.
alter table andon.sources add column channels text[];
comment on column andon.sources.channels is 'The NOTIFY channels whose notifications `andon run` may write into the log; null: an older version has attached it';

-- Writes the event that a notification announces. `andon run` may write no other events into the log.
create function andon.emit_notified(
    source text, channel text, type text, data jsonb, tenant text, entity_type text, entity_id text, context jsonb
) returns uuid
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if not exists (
        select from andon.sources s where s.name = emit_notified.source
            and (emit_notified.channel = any (s.channels) or (s.channels is null and strpos(s.mapping, 'channel') > 0))
    ) then
        raise exception 'source % has no channel %; attach its mapping again', emit_notified.source, emit_notified.channel
            using errcode = 'invalid_parameter_value';
    end if;
    return andon.emit(emit_notified.type, emit_notified.data, emit_notified.tenant, emit_notified.entity_type, emit_notified.entity_id,
        emit_notified.context);
end $$;

-- Tells the tenant's other destinations that one is disabled. What it says is what the row of its lane says.
create function andon.emit_disabled(lane text, kind text, since timestamptz) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform andon.emit('andon.destination.disabled', jsonb_build_object(
        'lane', l.lane, 'name', l.name, 'kind', emit_disabled.kind, 'reason', l.reason, 'since', emit_disabled.since),
        l.tenant, 'destination', l.lane)
    from andon.lanes l where l.lane = emit_disabled.lane and l.state = 'disabled';
end $$;

-- A new partition of the log may be read by whoever may read the log, so that nobody needs rights on tables that do not exist yet.
create function andon.share_partition(part regclass) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    reader record;
begin
    for reader in
        select case it.grantee when 0 then 'public' else quote_ident(pg_get_userbyid(it.grantee)) end as role
        from pg_class c cross join aclexplode(c.relacl) it
        where c.oid = 'andon.events'::regclass and it.privilege_type = 'SELECT' and it.grantee <> c.relowner
    loop
        execute format('grant select on %s to %s', part, reader.role);
    end loop;
end $$;

-- As before, and whoever may read the log may read its new partitions.
create or replace function andon.extend_log(log_age interval default '14 days', log_size bigint default 10737418240, smallest bigint default 10000)
returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '200ms' as $$
declare
    given   constant bigint := pg_sequence_last_value(pg_get_serial_sequence('andon.events', 'id')::regclass);
    reached constant bigint := coalesce(given, 0);
    first   bigint := 0;
    lowest  bigint;
    bytes   numeric;
    pace    numeric := 0;
    width   bigint;
    most    integer := case when pg_relation_size('andon.events_default') > 8388608 then 4 else 40 end;
    name    text;
begin
    if not pg_try_advisory_xact_lock(1097753711, 6) then
        return;
    end if;
    select max(it.past), min(it.low), sum(pg_total_relation_size(it.part)) filter (where it.low <= reached),
        max(it.past - it.low) filter (where reached between it.low and it.past - 1)
        into first, lowest, bytes, width from andon.log_partitions() it;
    first := coalesce(first, 0);
    -- Ids per second since a partition ago.
    select (reached - event.id) / greatest(1, extract(epoch from clock_timestamp() - least(clock_timestamp(), greatest('1970-01-01Z', event.captured_at))))
        into pace from andon.events event where event.id > reached - coalesce(width, smallest) order by event.id limit 1;
    pace := greatest(0, coalesce(pace, 0));
    width := greatest(smallest, least(1e12, pace * extract(epoch from log_age) / 16,
        log_size::numeric / 16 * (reached - coalesce(lowest, 0) + 1) / greatest(1, coalesce(bytes, 1)))::bigint);
    -- What has gone to the default partition stays there: the next one begins where nobody will be before it is there.
    if first <= reached and given is not null then
        first := reached + greatest(smallest, (pace * 2)::bigint);
    end if;
    while most > 0 and first <= reached + greatest(20 * smallest, (pace * 300)::bigint) loop
        name := 'events_' || first;
        begin
            execute format('create table andon.%I (like andon.events including defaults including constraints)', name);
            execute format('alter table andon.events attach partition andon.%I for values from (%s) to (%s)', name, first, first + width);
            perform andon.share_partition(format('andon.%I', name)::regclass);
        exception when others then
            raise warning 'andon: partition % of the log could not be made: %', name, sqlerrm;
            return;
        end;
        first := first + width;
        most := most - 1;
    end loop;
end $$;

-- Nobody calls a function whom nobody has allowed to. Those who could until now by the rights of everybody keep what they use: the owners of
-- capture functions, and whoever reads `andon.lane_status`. Applications still emit by the rights of everybody.
do $$
declare
    one record;
begin
    for one in
        select p.oid::regprocedure as function from pg_proc p where p.pronamespace = 'andon'::regnamespace and p.proname <> 'emit'
            and pg_has_role(p.proowner, 'usage')
    loop
        execute format('revoke execute on function %s from public', one.function);
    end loop;
    for one in
        select distinct quote_ident(pg_get_userbyid(captures.proowner)) as role, helper.oid::regprocedure as function
        from pg_proc captures join pg_trigger t on t.tgfoid = captures.oid and not t.tgisinternal
        join pg_proc helper on helper.pronamespace = captures.pronamespace and helper.proname in ('ring', 'row_image', 'row_key',
            'failing_lookups', 'event_type', 'is_small_enough', 'max_event', 'destinations_changed')
        where captures.pronamespace = 'andon'::regnamespace and captures.proowner <> helper.proowner
    loop
        execute format('grant execute on function %s to %s', one.function, one.role);
    end loop;
    for one in
        select distinct quote_ident(pg_get_userbyid(it.grantee)) as role from pg_class c cross join aclexplode(c.relacl) it
        where c.oid = 'andon.lane_status'::regclass and it.grantee not in (0, c.relowner)
    loop
        execute format('grant execute on function andon.lives(timestamptz), andon.pending_ids(andon.lanes) to %s', one.role);
    end loop;
end $$;
