-- Notifications that are no events are counted in one row for each channel and cause: whoever may connect can send as many as he likes.

alter table andon.capture_errors
    add column times   bigint not null default 1,
    add column last_at timestamptz;
comment on column andon.capture_errors.times is 'How often it has happened; more than once only for notifications';
comment on column andon.capture_errors.last_at is 'When it happened last, if more than once';
create index capture_errors_notify on andon.capture_errors (source, table_name, sqlstate)
    where operation = 'notify' and recovered_at is null and acknowledged_at is null;

create function andon.notifications_failed(source text, channel text, sqlstate text, message text, times bigint) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
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
revoke all on function andon.notifications_failed(text, text, text, text, bigint) from public;

-- As before, and what is too large for an event is refused instead of recorded each time.
create or replace function andon.emit_notified(
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
    elsif not andon.is_small_enough(emit_notified.context, emit_notified.data) then
        raise exception 'context and data have more than % bytes', andon.max_event() using errcode = 'string_data_right_truncation';
    elsif greatest(octet_length(emit_notified.type), octet_length(emit_notified.tenant), octet_length(emit_notified.entity_type),
        octet_length(emit_notified.entity_id)) > 512 then
        raise exception 'type, tenant, entity_type or entity_id has more than 512 bytes' using errcode = 'string_data_right_truncation';
    end if;
    return andon.emit(emit_notified.type, emit_notified.data, emit_notified.tenant, emit_notified.entity_type, emit_notified.entity_id,
        emit_notified.context);
end $$;
