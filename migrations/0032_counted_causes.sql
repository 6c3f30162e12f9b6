-- Nobody can make more rows of failures than there are causes, and nobody but time and their number removes those that were not seen to.

comment on column andon.capture_errors.times is 'How often it has happened; more than once only for notifications and andon.emit, where up to ten a second are counted';
create index capture_errors_emit on andon.capture_errors (message) where operation = 'emit' and recovered_at is null and acknowledged_at is null;
create index capture_errors_log on andon.capture_errors (key) where source = 'andon.log';

-- Counts an event that is too large in one row for each cause, which has the type and the entity of the first. Whoever keeps that row in a
-- transaction that lasts keeps nobody waiting: the next one makes a row of its own, so that there are as many as transactions, at most. Ten a second
-- are counted, because each update of one transaction has to pass those before it.
create function andon.emit_failed(type text, key text, reason text) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    known bigint;
    seen  timestamptz;
begin
    if current_setting('transaction_isolation') = 'read committed' then
        select e.id, e.last_at into known, seen from andon.capture_errors e
        where e.operation = 'emit' and e.message = emit_failed.reason and e.recovered_at is null and e.acknowledged_at is null
        order by e.id limit 1 for update skip locked;
    else
        -- To lock a row that another transaction has changed would be a serialization failure of this one.
        select e.id, clock_timestamp() into known, seen from andon.capture_errors e
        where e.operation = 'emit' and e.message = emit_failed.reason and e.recovered_at is null and e.acknowledged_at is null limit 1;
    end if;
    if known is null then
        insert into andon.capture_errors (source, table_name, operation, key, sqlstate, message, last_at)
        values ('andon.emit', emit_failed.type, 'emit', emit_failed.key, '22001', emit_failed.reason, clock_timestamp());
    elsif seen is null or seen < clock_timestamp() - interval '100 milliseconds' then
        update andon.capture_errors e set times = e.times + 1, last_at = clock_timestamp() where e.id = known;
    end if;
exception when transaction_rollback then
    raise;
when others then
    raise warning 'andon.emit: that % is not an event could not be recorded: %', emit_failed.type, sqlerrm;
end $$;
revoke all on function andon.emit_failed(text, text, text) from public;

-- As before, but for that.
create or replace function andon.write_event(type text, data jsonb, tenant text, entity_type text, entity_id text, context jsonb) returns uuid
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
        perform andon.emit_failed(left(write_event.type, 200), concat_ws('/', left(write_event.entity_type, 200), left(write_event.entity_id, 200)), reason);
        raise warning 'andon.emit: % is not an event: %; see andon.capture_errors', left(write_event.type, 200), reason;
        return null;
    end if;
    insert into andon.events (tenant, type, entity_type, entity_id, context, data)
    values (write_event.tenant, write_event.type, write_event.entity_type, write_event.entity_id, write_event.context, write_event.data)
    returning event_id into made;
    perform andon.ring();
    return made;
end $$;

-- As before, for channels that a source has.
create or replace function andon.notifications_failed(source text, channel text, sqlstate text, message text, times bigint) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if not exists (select from andon.sources s where s.name = notifications_failed.source
            and (s.channels is null or notifications_failed.channel = any (s.channels))) then
        return;
    end if;
    update andon.capture_errors e set times = e.times + notifications_failed.times, last_at = clock_timestamp()
    where e.id = (
        select min(it.id) from andon.capture_errors it
        where it.source = notifications_failed.source and it.table_name = notifications_failed.channel and it.operation = 'notify'
            and it.sqlstate = notifications_failed.sqlstate and it.recovered_at is null and it.acknowledged_at is null
    );
    if not found then
        insert into andon.capture_errors (source, table_name, operation, sqlstate, message, times, last_at)
        values (notifications_failed.source, notifications_failed.channel, 'notify', notifications_failed.sqlstate,
            left(andon.without_values(notifications_failed.sqlstate, notifications_failed.message, null, null), 1000), notifications_failed.times, clock_timestamp());
    end if;
end $$;

-- Records an event of the log that cannot be read, once. Returns whether it is new. That is all that `andon run` can record.
create function andon.set_aside(event bigint, sqlstate text, message text) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if exists (select from andon.capture_errors e where e.source = 'andon.log' and e.key = set_aside.event::text) then
        return false;
    end if;
    begin
        if not exists (select from andon.events e where e.id = set_aside.event) then
            return false;
        end if;
    exception when data_corrupted or index_corrupted or internal_error then
        null;
    end;
    perform andon.capture_failed('andon.log', 'andon.events', 'read', set_aside.event::text, set_aside.sqlstate, set_aside.message);
    return true;
end $$;
revoke all on function andon.set_aside(bigint, text, text) from public;

-- Removes errors that were recovered or acknowledged longer ago than `age`, and the oldest beyond a million, as before. How many stay is nothing
-- that the caller says: `andon run` could remove all that nobody had seen to.
drop function andon.keep_capture_errors(interval, bigint);
create function andon.keep_capture_errors(age interval) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    most      constant bigint := 1000000;
    last_kept bigint;
    unseen    bigint;
begin
    delete from andon.capture_errors where id in (
        select id from andon.capture_errors where coalesce(recovered_at, acknowledged_at) < now() - age order by id limit 10000
    );
    select id into last_kept from andon.capture_errors order by id desc offset most - 1 limit 1;
    with removed as (
        delete from andon.capture_errors where id in (
            select id from andon.capture_errors where id < last_kept order by id limit 10000
        ) returning recovered_at is null and acknowledged_at is null as is_unseen
    )
    select count(*) filter (where is_unseen) into unseen from removed;
    return unseen;
end $$;
revoke all on function andon.keep_capture_errors(interval) from public;
