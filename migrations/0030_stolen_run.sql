-- Who has stolen the role of `andon run` forges as little as can be: parked deliveries come from the log, notifications become what their source
-- says, and a destination that is disabled tells no more than that.

-- What the notifications of each channel become.
alter table andon.sources add column channel_events jsonb;
comment on column andon.sources.channel_events is 'For each NOTIFY channel the type, the entity type and the tenant of its events; one that is left out stands in the notification; null: an older version has attached it';

create or replace function andon.emit_notified(
    source text, channel text, type text, data jsonb, tenant text, entity_type text, entity_id text, context jsonb
) returns uuid
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    events jsonb;
begin
    select coalesce(s.channel_events -> emit_notified.channel, '{}') into events from andon.sources s where s.name = emit_notified.source
        and (emit_notified.channel = any (s.channels) or (s.channels is null and strpos(s.mapping, 'channel') > 0));
    if not found then
        raise exception 'source % has no channel %; attach its mapping again', emit_notified.source, emit_notified.channel
            using errcode = 'invalid_parameter_value';
    elsif (coalesce(events ->> 'type', emit_notified.type), coalesce(events ->> 'entity_type', emit_notified.entity_type),
            coalesce(events ->> 'tenant', emit_notified.tenant))
        is distinct from (emit_notified.type, emit_notified.entity_type, emit_notified.tenant) then
        raise exception 'channel % of source % makes no such event: its mapping says %', emit_notified.channel, emit_notified.source, events
            using errcode = 'invalid_parameter_value';
    elsif not andon.is_small_enough(emit_notified.context, emit_notified.data) then
        raise exception 'context and data have more than % bytes', andon.max_event() using errcode = 'string_data_right_truncation';
    elsif greatest(octet_length(emit_notified.type), octet_length(emit_notified.tenant), octet_length(emit_notified.entity_type),
        octet_length(emit_notified.entity_id)) > 512 then
        raise exception 'type, tenant, entity_type or entity_id has more than 512 bytes' using errcode = 'string_data_right_truncation';
    end if;
    return andon.emit(emit_notified.type, emit_notified.data, emit_notified.tenant, emit_notified.entity_type, emit_notified.entity_id,
        emit_notified.context);
end $$;

-- Tells the other destinations of its tenant that one is disabled. All that it says stands in rows; whose the destination is, in its own row, if
-- that is one of Andon's.
drop function andon.emit_disabled(text, text, timestamptz);
create function andon.emit_disabled(lane text) returns void
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
    -- A destination that is gone, or another tenant's by now, has nobody to tell.
    if told.lane ~ '^andon\.(mqtt_publishers|webhooks)/' then
        select it.tenant_id into owner from (
            select 'andon.mqtt_publishers/' || id::text as lane, coalesce(tenant_id, '') as tenant_id from andon.mqtt_publishers
            union all select 'andon.webhooks/' || id::text, coalesce(tenant_id, '') from andon.webhooks
        ) it where it.lane = regexp_replace(told.lane, '~replay/[0-9]+$', '');
        if owner is distinct from told.tenant then
            return;
        end if;
    end if;
    perform andon.write_event('andon.destination.disabled', jsonb_build_object('lane', told.lane, 'name', told.name, 'kind', told.kind,
        'reason', told.reason, 'since', told.since), told.tenant, 'destination', told.lane, '{}');
end $$;
revoke all on function andon.emit_disabled(text) from public;

-- Parks deliveries of events of the log, in the order in which they are given. Each is a copy of what the log has, and of the lane's tenant.
-- Returns the ids of the events that the log does not have (any more): of those nothing is parked, and they count as lost. `is_bare` leaves out
-- whatever may be large or odd.
create function andon.park(
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
        state, attempts, next_attempt_at, reason)
    select l.lane, e.id, e.event_id, e.tenant, kept.type, kept.entity_type, kept.entity_id, e.occurred_at, kept.context, kept.data,
        it.state, it.attempts, now() + it.delay * interval '1 second', it.reason
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
revoke all on function andon.park(text, bigint[], text[], integer[], double precision[], text[], boolean) from public;

-- What is left of a text that the ledger does not take as it is.
create function andon.shortened(text) returns text
language sql immutable set search_path = pg_catalog, pg_temp as $$ select left(regexp_replace($1, '[[:cntrl:]]', '', 'g'), 64) $$;
revoke all on function andon.shortened(text) from public;
