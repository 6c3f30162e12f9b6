-- Who has stolen the role of `andon run` can neither bend the log for good, nor have an event delivered without its data, nor flood the operator.

alter table andon.deliveries add column is_bare boolean not null default false;
comment on column andon.deliveries.is_bare is 'The ledger has neither the context nor the data of the event, and nobody delivers it';
update andon.deliveries set is_bare = true, state = 'dead', next_attempt_at = null,
    reason = case when state = 'dead' then reason else reason || '; this is an event of the log without its data, so that no retry delivers it' end
where context = 'null' and data = 'null';
alter table andon.deliveries add constraint a_delivery_without_data_is_dead check (state = 'dead' or not is_bare);

-- As before, but what is parked bare is marked, and therefore dead.
create or replace function andon.park(
    lane text, events bigint[], states text[], attempts integer[], delays double precision[], reasons text[], is_bare boolean
) returns bigint[]
language plpgsql security definer set search_path = pg_catalog, pg_temp
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
#variable_conflict use_column
declare
    made    bigint;
    missing bigint[] := '{}';
begin
    insert into andon.deliveries (lane, event, event_id, tenant, type, entity_type, entity_id, occurred_at, context, data,
        state, attempts, next_attempt_at, reason, is_bare)
    select l.lane, e.id, e.event_id, e.tenant, kept.type, kept.entity_type, kept.entity_id, e.occurred_at, kept.context, kept.data,
        it.state, it.attempts, now() + it.delay * interval '1 second', it.reason, park.is_bare
    from unnest(park.events, park.states, park.attempts, park.delays, park.reasons)
        with ordinality it (event, state, attempts, delay, reason, place)
    join andon.lanes l on l.lane = park.lane
    join andon.events e on e.id = it.event and l.tenant in (e.tenant, '*')
    cross join lateral (
        select e.type, e.entity_type, e.entity_id, e.context, e.data where not park.is_bare
        union all
        select andon.shortened(e.type), andon.shortened(e.entity_type), andon.shortened(e.entity_id), 'null', 'null' where park.is_bare
    ) kept
    order by it.place
    on conflict (lane, event_id) do nothing;
    get diagnostics made = row_count;
    if made < cardinality(park.events) then
        missing := array(
            select it from unnest(park.events) it where not exists (
                select from andon.events e join andon.lanes l on l.lane = park.lane where e.id = it and l.tenant in (e.tenant, '*')
            )
        );
        update andon.lanes set lost = lost + cardinality(missing), lost_at = now() where lane = park.lane and missing <> '{}';
    end if;
    return missing;
exception when data_corrupted or index_corrupted then
    -- The lane asks again for one after the other, and then for what is bare: a page of the log that is damaged must not stop it.
    if not park.is_bare then
        raise;
    end if;
    update andon.lanes set lost = lost + cardinality(park.events), lost_at = now() where lane = park.lane;
    return park.events;
end $$;

-- As before, but a partition is no wider than a million ids, or than two days take at the pace of the plant. The next one begins after it, so that
-- one that is too wide would hold the log, whatever its limits say, for ever.
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
    -- What a caller says is no more than that.
    least_wide constant bigint := least(greatest(coalesce(smallest, 10000), 100), 1000000);
    most    integer := case when pg_relation_size('andon.events_default') > 8388608 then 4 else 40 end;
    name    text;
begin
    perform from andon.turns where turns.name = 'extend_log' for update skip locked;
    if not found then
        return;
    end if;
    select max(it.past), min(it.low), sum(pg_total_relation_size(it.part)) filter (where it.low <= reached),
        max(it.past - it.low) filter (where reached between it.low and it.past - 1)
        into first, lowest, bytes, width from andon.log_partitions() it;
    first := coalesce(first, 0);
    -- Ids per second since a partition ago.
    select (reached - event.id) / greatest(1, extract(epoch from clock_timestamp() - least(clock_timestamp(), greatest('1970-01-01Z', event.captured_at))))
        into pace from andon.events event where event.id > reached - coalesce(width, least_wide) order by event.id limit 1;
    pace := greatest(0, coalesce(pace, 0));
    width := greatest(least_wide, least(greatest(1e6, pace * 172800), pace * extract(epoch from log_age) / 16,
        log_size::numeric / 16 * (reached - coalesce(lowest, 0) + 1) / greatest(1, coalesce(bytes, 1)))::bigint);
    -- What has gone to the default partition stays there: the next one begins where nobody will be before it is there.
    if first <= reached and given is not null then
        first := reached + greatest(least_wide, (pace * 2)::bigint);
    end if;
    while most > 0 and first <= reached + greatest(20 * least_wide, (pace * 300)::bigint) loop
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

-- As before, but only for tables of destinations, and for all tenants only where the destination's own row says so.
create or replace function andon.emit_disabled(lane text) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    told  record;
    owner text;
begin
    select l.lane, l.name, l.tenant, l.reason, coalesce(l.failing_since, now()) as since,
        case when starts_with(l.lane, 'andon.mqtt_publishers/')
            or exists (select from andon.sources s where starts_with(l.lane, s.mqtt_publishers || '/')) then 'mqtt' else 'webhook' end as kind
        into told from andon.lanes l where l.lane = emit_disabled.lane and l.state = 'disabled';
    if not found then
        raise exception 'lane % is not disabled', emit_disabled.lane using errcode = 'object_not_in_prerequisite_state';
    end if;
    -- A destination that is gone, or another tenant's by now, has nobody to tell. The rows of a source's own tables are not asked.
    if told.lane ~ '^andon\.(mqtt_publishers|webhooks)/' then
        select it.tenant_id into owner from (
            select 'andon.mqtt_publishers/' || id::text as lane, coalesce(tenant_id, '') as tenant_id from andon.mqtt_publishers
            union all select 'andon.webhooks/' || id::text, coalesce(tenant_id, '') from andon.webhooks
        ) it where it.lane = regexp_replace(told.lane, '~replay/[0-9]+$', '');
        if owner is distinct from told.tenant then
            return;
        end if;
    elsif told.tenant = '*' or not exists (
        select from andon.sources s where starts_with(told.lane, s.mqtt_publishers || '/') or starts_with(told.lane, s.webhooks || '/')
    ) then
        return;
    end if;
    perform andon.write_event('andon.destination.disabled', jsonb_build_object('lane', told.lane, 'name', told.name, 'kind', told.kind,
        'reason', told.reason, 'since', told.since), told.tenant, 'destination', told.lane, '{}');
end $$;

-- As before, for causes that an error can have, twenty of each channel. Of those that come beyond, the newest row counts how many they are.
create or replace function andon.notifications_failed(source text, channel text, sqlstate text, message text, times bigint) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    listed text[];
    number constant bigint := least(greatest(coalesce(notifications_failed.times, 1), 1), 1000000000);
    known  bigint;
begin
    -- One after the other, so that all of them together make no more rows.
    select s.channels into listed from andon.sources s where s.name = notifications_failed.source for no key update;
    if not found or not coalesce(notifications_failed.channel = any (listed), true)
        or not coalesce(notifications_failed.sqlstate ~ '^[0-9A-Z]{5}$', false) then
        return;
    end if;
    select min(e.id) into known from andon.capture_errors e
    where e.source = notifications_failed.source and e.table_name = notifications_failed.channel and e.operation = 'notify'
        and e.sqlstate = notifications_failed.sqlstate and e.recovered_at is null and e.acknowledged_at is null;
    if known is null then
        -- An older version has not written down which channels the source has: then these are the twenty of all.
        select max(it.id) into known from (
            select e.id from andon.capture_errors e
            where e.source = notifications_failed.source and (listed is null or e.table_name = notifications_failed.channel)
                and e.operation = 'notify' and e.recovered_at is null and e.acknowledged_at is null
            order by e.id desc limit 20
        ) it having count(*) = 20;
    end if;
    if known is not null then
        update andon.capture_errors e set times = e.times + number, last_at = clock_timestamp() where e.id = known;
    else
        insert into andon.capture_errors (source, table_name, operation, sqlstate, message, times, last_at)
        values (notifications_failed.source, notifications_failed.channel, 'notify', notifications_failed.sqlstate,
            left(andon.without_values(notifications_failed.sqlstate, notifications_failed.message, null, null), 1000), number, clock_timestamp());
    end if;
end $$;

-- As before, but what can be read is not recorded, and of a thousand rows that nobody has seen to the newest counts the others. Returns whether it is
-- new, and null if the event can be read (by now).
create or replace function andon.set_aside(event bigint, sqlstate text, message text) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    is_readable boolean;
    newest      bigint;
begin
    if exists (select from andon.capture_errors e where e.source = 'andon.log' and e.key = set_aside.event::text) then
        return false;
    end if;
    begin
        -- Whatever the daemon reads, in its encoding, and a time that it can hold.
        select isfinite(e.occurred_at) and e.occurred_at <= '9999-12-30 22:00:00+00' and e.event_id is not null
            and convert_to(concat(e.tenant, e.type, e.entity_type, e.entity_id, e.context, e.data), 'UTF8') is not null
            into is_readable from andon.events e where e.id = set_aside.event;
        if not found then
            return false;
        elsif is_readable then
            return null;
        end if;
    exception when data_exception or program_limit_exceeded or internal_error then
        null;
    end;
    select max(it.id) into newest from (
        select e.id from andon.capture_errors e
        where e.source = 'andon.log' and e.recovered_at is null and e.acknowledged_at is null order by e.id desc limit 1000
    ) it having count(*) = 1000;
    if newest is not null then
        update andon.capture_errors e set times = e.times + 1, last_at = clock_timestamp() where e.id = newest;
        return false;
    end if;
    perform andon.capture_failed('andon.log', 'andon.events', 'read', set_aside.event::text, set_aside.sqlstate, set_aside.message);
    return true;
end $$;
comment on column andon.capture_errors.times is 'How often it has happened; more than once only for notifications and andon.emit, where up to ten a second are counted, and in the last row of a source that has as many rows as there may be';
