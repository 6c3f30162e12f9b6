-- One odd event is one event, and a log that went back is noticed.

-- A daemon recognises by this that the database has lost a write that it had confirmed: a crash that did not flush it, or the promotion of a
-- standby that lagged. Daemons of the version before do not count their writes, which is as if they had made none.
alter table andon.lanes add column writes bigint not null default 0;
comment on column andon.lanes.writes is 'How often the lane has written its row; a row that has fewer than the lane knows of was lost';

-- The tail recognises the log by its events, and no longer by these. A daemon of the version before still compares them.
comment on column andon.tail.system_identifier is 'No longer used';
comment on column andon.tail.timeline is 'No longer used';

-- How many bytes an event may have at most: its context and its data, as text. The owner may replace it: `select andon.set_max_event(4194304)`.
create function andon.max_event() returns bigint language sql immutable return 1048576;

create function andon.set_max_event(bytes bigint) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if bytes is null or bytes not between 1024 and 268435456 then
        raise exception 'andon.set_max_event: % bytes are not between 1024 and 268435456', coalesce(bytes::text, 'null')
            using errcode = 'invalid_parameter_value';
    end if;
    execute format('create or replace function andon.max_event() returns bigint language sql immutable return %s', bytes);
end $$;
revoke all on function andon.set_max_event(bigint) from public;

-- Whether an event is small enough. The text of a small one is not made only to be measured: that would cost as much as a tenth of a capture.
-- It has no `set` clause because PostgreSQL would not inline it then.
create function andon.is_small_enough(context jsonb, data jsonb) returns boolean
language sql stable parallel safe return case
    when pg_catalog.pg_column_size(context) + pg_catalog.pg_column_size(data) <= 1024 then true
    when pg_catalog.pg_column_size(context) + pg_catalog.pg_column_size(data) > andon.max_event() then false
    else pg_catalog.octet_length(context::text) + pg_catalog.octet_length(data::text) <= andon.max_event() end;

-- An application's own event. What cannot be carried is recorded and not raised: the application's transaction is not at fault for it.
create or replace function andon.emit(
    type text, data jsonb default '{}', tenant text default '', entity_type text default '', entity_id text default '',
    context jsonb default '{}'
) returns uuid
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    made   uuid;
    reason text;
begin
    if emit.type is null or emit.type !~ '^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$' then
        raise exception 'andon.emit: event type % is not a dotted name such as job.created', coalesce(quote_literal(left(emit.type, 100)), 'null')
            using errcode = 'invalid_parameter_value';
    end if;
    emit.tenant := coalesce(emit.tenant, '');
    emit.entity_type := coalesce(emit.entity_type, '');
    emit.entity_id := coalesce(emit.entity_id, '');
    emit.context := coalesce(emit.context, '{}');
    emit.data := coalesce(emit.data, '{}');
    -- These are the rules of the table. To catch its error instead would cost each event a subtransaction.
    if not andon.is_small_enough(emit.context, emit.data) then
        reason := format('context and data have more than %s bytes', andon.max_event());
    elsif greatest(octet_length(emit.type), octet_length(emit.tenant), octet_length(emit.entity_type), octet_length(emit.entity_id)) > 512 then
        reason := 'type, tenant, entity_type or entity_id has more than 512 bytes';
    end if;
    if reason is not null then
        perform andon.capture_failed('andon.emit', left(emit.type, 200), 'emit',
            concat_ws('/', left(emit.entity_type, 200), left(emit.entity_id, 200)), '22001', reason);
        raise warning 'andon.emit: % is not an event: %; see andon.capture_errors', left(emit.type, 200), reason;
        return null;
    end if;
    insert into andon.events (tenant, type, entity_type, entity_id, context, data)
    values (emit.tenant, emit.type, emit.entity_type, emit.entity_id, emit.context, emit.data)
    returning event_id into made;
    perform andon.ring();
    return made;
end $$;

-- A key or a message may be as long as the value that was at fault.
create or replace function andon.capture_failed(source text, table_name text, operation text, key text, sqlstate text, message text) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    insert into andon.capture_errors (source, table_name, operation, key, sqlstate, message)
    values (capture_failed.source, capture_failed.table_name, capture_failed.operation, left(capture_failed.key, 1000),
            capture_failed.sqlstate, left(capture_failed.message, 1000));
exception when transaction_rollback then
    raise;
when others then
    raise warning 'andon: % of % not captured (% %), and that could not be recorded: %',
        capture_failed.operation, capture_failed.table_name, capture_failed.sqlstate, left(capture_failed.message, 1000), sqlerrm;
end $$;

-- Makes partitions before the log reaches them, as before, with these differences. The first one of a new log begins at id 0. More are made
-- ahead, but never more than 40 of a kind: a burst is no reason to make thousands. Where the log has overtaken them, the next one begins a
-- moment ahead and not a minute's burst ahead, and few are made, because each looks through the default partition. A time of capture that is
-- none does no harm.
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
        exception when others then
            raise warning 'andon: partition % of the log could not be made: %', name, sqlerrm;
            return;
        end;
        first := first + width;
        most := most - 1;
    end loop;
end $$;

-- The partitions of a log without events begin at 0 as well.
do $$
declare
    unused regclass;
begin
    if pg_sequence_last_value(pg_get_serial_sequence('andon.events', 'id')::regclass) is null then
        for unused in select part from andon.log_partitions() loop
            execute format('drop table %s', unused);
        end loop;
        perform andon.extend_log();
    end if;
end $$;

-- Empties a partition, or the default one, of what lies below `past`, as before. Whether a partition may hold more is known without reading it,
-- so that one with a damaged page can be emptied.
create or replace function andon.empty_log(part regclass, past bigint) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '50ms' as $$
declare
    is_needed boolean;
    newest    timestamptz;
begin
    if not exists (select from pg_inherits where inhparent = 'andon.events'::regclass and inhrelid = part) then
        raise exception 'andon.empty_log: % is no partition of the log', part;
    end if;
    execute format('lock table only %s in access exclusive mode', part);
    -- Rows that came since it was looked at, and rows that the tail has not read.
    select it.past > empty_log.past into is_needed from andon.log_partitions() it where it.part = empty_log.part;
    if is_needed is null then
        execute format('select exists (select from only %s where id >= $1)', part) into is_needed using past;
    end if;
    if is_needed or not exists (select from andon.tail
        where position >= empty_log.past - 1 and not holes && int8range(null, empty_log.past)) then
        return false;
    end if;
    begin
        execute format('select captured_at from only %s order by id desc limit 1', part) into newest;
    exception when data_corrupted or index_corrupted or internal_error then
        newest := null;
    end;
    update andon.tail set forgotten = greatest(forgotten, least(clock_timestamp(), greatest('1970-01-01Z', newest)))
        where newest is not null;
    execute format('truncate only %s', part);
    return true;
exception when lock_not_available then
    return false;
end $$;

-- Drops partitions that are empty and will stay so, as before. One that cannot be read is not empty, and keeps no other from being dropped.
create or replace function andon.drop_empty_log() returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '20ms' as $$
declare
    doomed  regclass[] := '{}';
    one     regclass;
    is_used boolean;
    others  text[];
begin
    if not pg_try_advisory_xact_lock(1097753711, 7) then
        return 0;
    end if;
    for one in
        select it.part from andon.log_partitions() it, andon.tail
        where position >= it.past - 1 and not holes && int8range(it.low, it.past) order by it.low
    loop
        begin
            execute format('select exists (select from only %s)', one) into is_used;
        exception when data_corrupted or index_corrupted or internal_error then
            is_used := true;
        end;
        doomed := case when is_used then doomed else doomed || one end;
        exit when cardinality(doomed) = 4;
    end loop;
    if doomed = '{}' then
        return 0;
    end if;
    others := array(select virtualtransaction from pg_locks where relation = 'andon.events'::regclass and pid <> pg_backend_pid());
    perform pg_sleep(0.02);
    if exists (select from pg_locks where relation = 'andon.events'::regclass and virtualtransaction = any (others)) then
        return 0;
    end if;
    lock table andon.events in access exclusive mode;
    foreach one in array doomed loop
        execute format('select exists (select from only %s)', one) into is_used;
        if not is_used then
            execute format('drop table %s', one);
        end if;
    end loop;
    return cardinality(doomed);
exception when lock_not_available then
    return 0;
end $$;

-- Removes what lies below `past` from the default partition, where newer events may lie as well. If there are none, it is emptied at once, and
-- the room is free. Else rows are deleted: the caller asks for few at a time. False: not now. Whoever calls it has seen to the lanes.
create function andon.trim_log(past bigint) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    newest timestamptz;
begin
    if not exists (select from only andon.events_default where id >= trim_log.past) then
        return andon.empty_log('andon.events_default', trim_log.past);
    end if;
    if not exists (select from andon.tail where position >= trim_log.past - 1 and not holes && int8range(null, trim_log.past)) then
        return false;
    end if;
    select captured_at from only andon.events_default where id < trim_log.past order by id desc limit 1 into newest;
    update andon.tail set forgotten = greatest(forgotten, least(clock_timestamp(), greatest('1970-01-01Z', newest)))
        where newest is not null;
    delete from only andon.events_default where id < trim_log.past;
    return true;
end $$;
revoke all on function andon.trim_log(bigint) from public;

-- Only what can be carried comes in: a row that breaks one of these rules goes to `andon.capture_errors`, and the others of its statement
-- are captured. Rows that are there already are not looked at. This comes last, because until the end of the migration every writer of the
-- plant waits for the lock; it is taken when it is free.
do $$
begin
    set local lock_timeout = '100ms';
    for attempt in 1..100 loop
        begin
            alter table andon.events
                add constraint id_was_given_out check (id between 1 and 4611686018427387903) not valid,
                add constraint times_are_between_the_years_1_and_9999 check (
                    occurred_at >= '0001-01-01 00:00:00+00' and occurred_at < '9999-12-30 00:00:00+00'
                    and captured_at >= '0001-01-01 00:00:00+00' and captured_at < '9999-12-30 00:00:00+00'
                ) not valid,
                add constraint type_tenant_and_entity_have_512_bytes_at_most check (
                    octet_length(type) <= 512 and octet_length(tenant) <= 512
                    and octet_length(entity_type) <= 512 and octet_length(entity_id) <= 512
                ) not valid,
                add constraint event_is_not_larger_than_max_event check (andon.is_small_enough(context, data)) not valid;
            return;
        exception when lock_not_available then
            if attempt = 100 then
                raise exception 'andon.events is in use by a transaction that lasts; run `andon migrate` again when it has ended';
            end if;
            perform pg_sleep(0.1);
        end;
    end loop;
end $$;
