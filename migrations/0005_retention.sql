-- What is kept, and for how long: the log and the attempts in partitions that are made ahead and dropped when they have had their time.
-- `andon run` owns none of these tables, so that what it may do to them are functions of the owner, which nobody else may call.

-- A lane that was too far behind when the log was shortened.
alter table andon.lanes add column lost bigint not null default 0, add column lost_at timestamptz;
comment on column andon.lanes.lost is 'Events that the log dropped before the lane took them; where its destination cannot be read, all of its tenant';

-- The partitions of the log but for the default one: from `low`, up to and without `past`.
create function andon.log_partitions() returns table (part regclass, low bigint, past bigint)
language sql stable set search_path = pg_catalog, pg_temp as $$
    select child.oid::regclass, bound[1]::bigint, bound[2]::bigint
    from pg_inherits join pg_class child on child.oid = inhrelid
    cross join regexp_match(pg_get_expr(child.relpartbound, child.oid), 'FROM \(''(-?\d+)''\) TO \(''(-?\d+)''\)') bound
    where inhparent = 'andon.events'::regclass and bound is not null
$$;

-- Makes partitions before the log reaches them. A sixteenth of what the limits let the log hold goes into each, at the pace of the last
-- one: a small plant's are not too coarse for an age, a busy plant's not too many. As before, one is made apart and then attached, which
-- lets writers go on; one that cannot be made now is a warning, its events go to the default partition, and the next call tries again.
drop function andon.extend_log();
create function andon.extend_log(log_age interval default '14 days', log_size bigint default 10737418240, smallest bigint default 10000)
returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '200ms' as $$
declare
    reached constant bigint := coalesce(pg_sequence_last_value(pg_get_serial_sequence('andon.events', 'id')::regclass), 0);
    first   bigint := 0;
    lowest  bigint;
    bytes   numeric;
    pace    numeric := 0;
    width   bigint;
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
    select (reached - event.id) / greatest(1, extract(epoch from clock_timestamp() - event.captured_at)) into pace
        from andon.events event where event.id > reached - coalesce(width, smallest) order by event.id limit 1;
    pace := greatest(0, coalesce(pace, 0));
    width := greatest(smallest, least(1e12, pace * extract(epoch from log_age) / 16,
        log_size::numeric / 16 * (reached - coalesce(lowest, 0) + 1) / greatest(1, coalesce(bytes, 1)))::bigint);
    -- What has gone to the default partition stays there: the next one begins where nobody will be before it is there.
    if first <= reached then
        first := reached + greatest(smallest, (pace * 60)::bigint);
    end if;
    while first <= reached + greatest(10 * smallest, (pace * 300)::bigint) loop
        name := 'events_' || first;
        begin
            execute format('create table andon.%I (like andon.events including defaults including constraints)', name);
            execute format('alter table andon.events attach partition andon.%I for values from (%s) to (%s)', name, first, first + width);
        exception when others then
            raise warning 'andon: partition % of the log could not be made: %', name, sqlerrm;
            return;
        end;
        first := first + width;
    end loop;
end $$;

-- Those made before this migration are a million ids wide. Where none is in use yet, they make room for finer ones.
do $$
declare
    unused regclass;
begin
    if pg_sequence_last_value(pg_get_serial_sequence('andon.events', 'id')::regclass) is null then
        for unused in select part from andon.log_partitions() loop
            execute format('drop table %s', unused);
        end loop;
    end if;
end $$;
select andon.extend_log();

-- Empties a partition, or the default one, of what lies below `past`. False: not now. Only its own lock is needed, which no writer of
-- newer events wants, so that the plant does not wait however long others read the log. Whoever calls it has seen to the lanes.
create function andon.empty_log(part regclass, past bigint) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '50ms' as $$
declare
    is_needed boolean;
begin
    if not exists (select from pg_inherits where inhparent = 'andon.events'::regclass and inhrelid = part) then
        raise exception 'andon.empty_log: % is no partition of the log', part;
    end if;
    execute format('lock table only %s in access exclusive mode', part);
    -- Rows that came since it was looked at, and rows that the tail has not read.
    execute format('select exists (select from only %s where id >= $1)', part) into is_needed using past;
    if is_needed or not exists (select from andon.tail
        where position >= empty_log.past - 1 and not holes && int8range(null, empty_log.past)) then
        return false;
    end if;
    execute format('truncate only %s', part);
    return true;
exception when lock_not_available then
    return false;
end $$;

-- Drops partitions that are empty and will stay so. That needs a lock for which every writer would have to wait, so it is only asked for
-- when nobody has held one of his own for longer than a moment, and given up after another. A few at a time; returns how many.
create function andon.drop_empty_log() returns bigint
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
        execute format('select exists (select from only %s)', one) into is_used;
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

-- Attempts by day of UTC. What is there stays, in a partition of its own.
alter table andon.attempts rename to attempts_before;
alter index andon.attempts_of_lane rename to attempts_before_of_lane;
create table andon.attempts (like andon.attempts_before including defaults including constraints) partition by range (at);
create index attempts_of_lane on andon.attempts (lane, at);
create table andon.attempts_default partition of andon.attempts default;
do $$
begin
    if exists (select from andon.attempts_before) then
        execute format('alter table andon.attempts attach partition andon.attempts_before for values from (minvalue) to (%L)',
            date_trunc('day', now(), 'UTC') + interval '1 day');
    else
        drop table andon.attempts_before;
    end if;
end $$;

-- Makes the partitions of today and the next two days, and drops those that are older than `attempts_age`. Only lanes that write attempts
-- wait for it, and not long.
create function andon.keep_attempts(attempts_age interval) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '200ms' as $$
declare
    today constant timestamptz := date_trunc('day', now(), 'UTC');
    day   timestamptz;
    name  text;
    old   regclass;
begin
    if not pg_try_advisory_xact_lock(1097753711, 8) then
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

revoke all on function andon.extend_log(interval, bigint, bigint), andon.empty_log(regclass, bigint), andon.drop_empty_log(),
    andon.keep_attempts(interval) from public;
select andon.keep_attempts('30 days');
