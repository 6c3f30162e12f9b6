-- One session at a time makes or drops partitions. What says whose turn it is was an advisory lock, which anybody may take who may connect, and so
-- keep the log without partitions and the attempts for ever. Rows of `andon.turns` can be locked only by those who may update it.

insert into andon.turns (name) values ('extend_log'), ('drop_empty_log'), ('keep_attempts');

-- As before, but for the turn.
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

create or replace function andon.drop_empty_log() returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '20ms' as $$
declare
    doomed  regclass[] := '{}';
    one     regclass;
    is_used boolean;
    others  text[];
    home    constant oid := (select oid from pg_database where datname = current_database());
begin
    perform from andon.turns where turns.name = 'drop_empty_log' for update skip locked;
    if not found then
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
    others := array(select virtualtransaction from pg_locks
        where database = home and relation = 'andon.events'::regclass and pid <> pg_backend_pid());
    perform pg_sleep(0.02);
    if exists (select from pg_locks
        where database = home and relation = 'andon.events'::regclass and virtualtransaction = any (others)) then
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

create or replace function andon.keep_attempts(attempts_age interval) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '200ms' as $$
declare
    today constant timestamptz := date_trunc('day', now(), 'UTC');
    day   timestamptz;
    name  text;
    old   regclass;
begin
    perform from andon.turns where turns.name = 'keep_attempts' for update skip locked;
    if not found then
        return;
    end if;
    for day in select today + make_interval(days => it) from generate_series(0, 2) it loop
        name := 'attempts_' || to_char(day at time zone 'UTC', 'YYYYMMDD');
        continue when to_regclass('andon.' || name) is not null;
        begin
            execute format('create table andon.%I (like andon.attempts including defaults including constraints)', name);
            execute format('alter table andon.attempts attach partition andon.%I for values from (%L) to (%L)', name, day,
                day + interval '1 day');
        exception when others then
            -- The day on which there was an attempts_before is covered by it.
            raise debug 'andon: partition % of the attempts could not be made: %', name, sqlerrm;
        end;
    end loop;
    begin
        for old in
            select child.oid::regclass from pg_inherits join pg_class child on child.oid = inhrelid
            cross join regexp_match(pg_get_expr(child.relpartbound, child.oid), 'TO \(''([^'']+)''\)') bound
            where inhparent = 'andon.attempts'::regclass and bound is not null and bound[1]::timestamptz < now() - attempts_age
        loop
            execute format('drop table %s', old);
        end loop;
        if exists (select from andon.attempts_default) and
            not exists (select from andon.attempts_default where at >= now() - attempts_age)
        then
            truncate only andon.attempts_default;
        end if;
    exception when lock_not_available then
        raise debug 'andon: the attempts are busy; the next call tries again';
    end;
end $$;
