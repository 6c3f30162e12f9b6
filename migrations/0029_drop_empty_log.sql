-- As before, but only sessions of this database count as users of the log. A database that was made from the same template has a log with the
-- same oid, and its writers kept the partitions of this one.
create or replace function andon.drop_empty_log() returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '20ms' as $$
declare
    doomed  regclass[] := '{}';
    one     regclass;
    is_used boolean;
    others  text[];
    home    constant oid := (select oid from pg_database where datname = current_database());
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
