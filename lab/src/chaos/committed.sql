-- What was committed, in tables of the chaos run itself. Each event of the run is written here in the transaction that emits it, under the
-- lock of its entity's row. So the order of an entity is defined, and these tables tell whether an unconfirmed commit succeeded.
create schema chaos;

create table chaos.entities (
    entity  text   primary key,
    tenant  text   not null,
    kind    text   not null,
    counter bigint not null default 0
) with (fillfactor = 50);

-- A rolled-back transaction used other nonces: a receiver of a nonce that is not here has received what never happened.
create table chaos.committed (
    entity   text        not null,
    counter  bigint      not null,
    nonce    text        not null,
    event_id uuid        not null,
    at       timestamptz not null default clock_timestamp(),
    primary key (entity, counter)
);

create function chaos.happen(who text, mark text) returns void language plpgsql as $$
declare
    it chaos.entities;
begin
    update chaos.entities set counter = counter + 1 where entity = who returning * into it;
    insert into chaos.committed (entity, counter, nonce, event_id)
    values (who, it.counter, mark,
            andon.emit(it.kind || '.updated', jsonb_build_object('entity', who, 'counter', it.counter, 'nonce', mark),
                       it.tenant, it.kind, who));
end $$;

-- The load probe writes here to see whether the machine keeps up.
create table chaos.probe (count bigint not null) with (fillfactor = 10);
insert into chaos.probe values (0);

-- The tables whose disk is full.
create table chaos.full_disks (table_name text primary key);

create function chaos.check_disk() returns trigger language plpgsql security definer as $$
begin
    if exists (select from chaos.full_disks where table_name = tg_table_name) then
        raise exception 'could not extend file: no space left on device (simulated, for %)', tg_table_name using errcode = 'disk_full';
    end if;
    return null;
end $$;
create trigger chaos_disk before insert or update on andon.events for each statement execute function chaos.check_disk();
create trigger chaos_disk before insert or update on andon.daemons for each statement execute function chaos.check_disk();
create trigger chaos_disk before insert or update on andon.lanes for each statement execute function chaos.check_disk();
create trigger chaos_disk before insert or update on andon.deliveries for each statement execute function chaos.check_disk();

-- A log may hold rows of a version that let such moments in.
alter table andon.events drop constraint times_are_between_the_years_1_and_9999;
