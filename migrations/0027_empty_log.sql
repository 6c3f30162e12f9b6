-- As before, but what is still needed is found out before the partition is locked: the lock would stay until the transaction ends, and whoever
-- may call this could hold up every insert into the partition of today.
create or replace function andon.empty_log(part regclass, past bigint) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '50ms' as $$
declare
    is_needed boolean;
    newest    timestamptz;
begin
    if not exists (select from pg_inherits where inhparent = 'andon.events'::regclass and inhrelid = part) then
        raise exception 'andon.empty_log: % is no partition of the log', part;
    end if;
    -- Twice: rows may come before the lock is there.
    for turn in 1..2 loop
        select it.past > empty_log.past into is_needed from andon.log_partitions() it where it.part = empty_log.part;
        -- Rows that came since it was looked at, and rows that the tail has not read.
        if is_needed is null then
            execute format('select exists (select from only %s where id >= $1)', part) into is_needed using past;
        end if;
        if is_needed or not exists (select from andon.tail
            where position >= empty_log.past - 1 and not holes && int8range(null, empty_log.past)) then
            return false;
        end if;
        if turn = 1 then
            execute format('lock table only %s in access exclusive mode', part);
        end if;
    end loop;
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
