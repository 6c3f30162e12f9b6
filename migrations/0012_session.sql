-- The plant's commits never fail because somebody keeps the queue of notifications full, and nobody without rights can stop Andon.

-- How full the queue may be before nobody is notified any more. The tail polls by then, and the other daemons look for themselves.
create function andon.may_notify() returns boolean
language sql set search_path = pg_catalog, pg_temp as $$ select pg_catalog.pg_notification_queue_usage() < 0.02 $$;

create or replace function andon.ring() returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if not pg_try_advisory_xact_lock_shared(1097753711, 1) and pg_notification_queue_usage() < 0.02 then
        perform pg_notify('andon', '');
    end if;
end $$;

create or replace function andon.destinations_changed() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if andon.may_notify() then
        perform pg_notify('andon', 'destinations');
    end if;
    return null;
end $$;

create or replace function andon.notify_destinations() returns void
language sql as $$ select pg_catalog.pg_notify('andon', 'destinations') where andon.may_notify() $$;

create or replace function andon.notify_deliveries() returns void
language sql as $$ select pg_catalog.pg_notify('andon', 'deliveries') where andon.may_notify() $$;

-- What one daemon does at a time. Anybody who may connect can take an advisory lock; a row of this table only those who were granted it.
create table andon.turns (
    name   text primary key,
    daemon uuid
);
comment on table andon.turns is 'What one daemon does at a time';
comment on column andon.turns.daemon is 'Who does it, if it takes longer than a transaction; it ends with the lease of that daemon';
insert into andon.turns (name) values ('destinations'), ('channels');
