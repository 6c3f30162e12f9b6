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
