-- The log, the lanes' cursors and the ledger. The log is append-only: rows are never updated or deleted one by one, so nothing here
-- grows dead tuples with the number of events, even while a long transaction holds the horizon back.

create schema if not exists andon;
comment on schema andon is 'Andon, the industrial event gateway: its log, cursors and ledger';

-- `xact` is the first column on purpose: defaults are computed in column order, so a transaction has its xid before it takes an id.
-- The tail's rule about holes rests on that.
create table andon.events (
    xact        xid8        not null default pg_current_xact_id(),
    id          bigint      not null generated always as identity,
    event_id    uuid        not null default gen_random_uuid(),
    tenant      text        not null,
    type        text        not null,
    entity_type text        not null,
    entity_id   text        not null,
    occurred_at timestamptz not null default clock_timestamp(),
    context     jsonb       not null default '{}',
    data        jsonb       not null default '{}',
    -- When the trigger ran. A mapping may say another `occurred_at`; what happens after a failover must not depend on that.
    captured_at timestamptz not null default clock_timestamp(),
    primary key (id)
) partition by range (id);

-- An insert never fails for want of a partition; `extend_log` keeps it from being needed.
create table andon.events_default partition of andon.events default;

-- Makes the next partition before the log reaches it. Security definer, because `andon run` does not own the log. A new partition is
-- made apart and then attached: `attach` lets writers go on, `create table … partition of` would wait for all of them and hold up the
-- plant while it waits. One that cannot be made now (a lock that is busy, rows that are in the default partition already) is a warning:
-- its events go to the default partition, and the next call tries again.
create function andon.extend_log() returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '200ms' as $$
declare
    size    constant bigint := 1000000;
    reached constant bigint := coalesce(pg_sequence_last_value(pg_get_serial_sequence('andon.events', 'id')::regclass), 0);
    first   bigint;
    name    text;
begin
    for first in select generate_series(reached / size * size, reached + size / 2, size) loop
        name := 'events_' || first / size;
        continue when to_regclass('andon.' || name) is not null;
        begin
            execute format('create table andon.%I (like andon.events including defaults including constraints)', name);
            execute format('alter table andon.events attach partition andon.%I for values from (%s) to (%s)', name, first, first + size);
        exception when others then
            raise warning 'andon: partition % of the log could not be made: %', name, sqlerrm;
        end;
    end loop;
end $$;
select andon.extend_log();

-- The bell. A NOTIFY serialises all commits of a database, so it is rung only while the tail sleeps, which is while it holds this
-- lock exclusively. A writer that gets the shared lock keeps it to its commit, and the tail cannot fall asleep before that.
create function andon.ring() returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if not pg_try_advisory_xact_lock_shared(1097753711, 1) then
        perform pg_notify('andon', '');
    end if;
end $$;

-- An application's own event, in the application's own transaction.
create function andon.emit(
    type text, data jsonb default '{}', tenant text default '', entity_type text default '', entity_id text default '',
    context jsonb default '{}'
) returns uuid
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    made uuid;
begin
    if emit.type is null or emit.type !~ '^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$' then
        raise exception 'andon.emit: event type % is not a dotted name such as job.created', coalesce(quote_literal(emit.type), 'null')
            using errcode = 'invalid_parameter_value';
    end if;
    insert into andon.events (tenant, type, entity_type, entity_id, context, data)
    values (coalesce(emit.tenant, ''), emit.type, coalesce(emit.entity_type, ''), coalesce(emit.entity_id, ''),
            coalesce(emit.context, '{}'), coalesce(emit.data, '{}'))
    returning event_id into made;
    perform andon.ring();
    return made;
end $$;

-- How far the tail has read: every id at or below `position` is decided, except those in `holes`. The identity of the server it was
-- read from tells a log that went back in time.
create table andon.tail (
    only_row          boolean         primary key default true constraint tail_has_one_row check (only_row),
    position          bigint          not null default 0,
    holes             int8multirange  not null default '{}',
    system_identifier bigint,
    timeline          integer,
    seen_at           timestamptz     not null default now()
);
insert into andon.tail default values;

-- One row per destination. Everything at or below `position` is done, except the ids in `pending`. A write names the epoch it was
-- made under, so a daemon that lost a lane cannot move its cursor.
create table andon.lanes (
    lane        text           primary key,
    tenant      text           not null,
    name        text           not null,
    position    bigint         not null,
    pending     int8multirange not null default '{}',
    epoch       bigint         not null default 0,
    state       text           not null default 'running'
        constraint lane_state_is_known check (state in ('running', 'retrying', 'open', 'disabled', 'misconfigured', 'removed')),
    reason      text,
    fingerprint text,
    state_since timestamptz    not null default now(),
    updated_at  timestamptz    not null default now()
) with (fillfactor = 50);

-- What could not be delivered at once, with a copy of the event, so that it outlives the log.
create table andon.deliveries (
    id              bigint      primary key generated always as identity,
    lane            text        not null,
    event           bigint      not null,
    event_id        uuid        not null,
    tenant          text        not null,
    type            text        not null,
    entity_type     text        not null,
    entity_id       text        not null,
    occurred_at     timestamptz not null,
    context         jsonb       not null,
    data            jsonb       not null,
    state           text        not null
        constraint delivery_state_is_known check (state in ('retry', 'waiting', 'dead')),
    attempts        integer     not null default 0,
    next_attempt_at timestamptz
        constraint a_retry_has_a_time check ((state = 'retry') = (next_attempt_at is not null)),
    reason          text        not null,
    parked_at       timestamptz not null default now(),
    constraint one_delivery_per_lane_and_event unique (lane, event_id)
);
create index deliveries_due on andon.deliveries (lane, next_attempt_at) where state = 'retry';
create index deliveries_of_entity on andon.deliveries (lane, entity_type, entity_id, event) where state <> 'dead';

-- What was tried and did not go straight through: every failed attempt, and the one that ended a parked delivery.
create table andon.attempts (
    at         timestamptz not null default now(),
    lane       text        not null,
    event      bigint      not null,
    event_id   uuid        not null,
    attempt    integer     not null,
    outcome    text        not null constraint attempt_outcome_is_known check (outcome in ('delivered', 'retry', 'dead')),
    code       integer,
    latency_ms double precision,
    excerpt    text
);
create index attempts_of_lane on andon.attempts (lane, at);

-- What a trigger could not capture. The plant's statement went through all the same.
create table andon.capture_errors (
    id         bigint      primary key generated always as identity,
    at         timestamptz not null default clock_timestamp(),
    source     text        not null,
    table_name text        not null,
    operation  text        not null,
    key        text,
    sqlstate   text        not null,
    message    text        not null
);

-- What is attached, and where its destinations are.
create table andon.sources (
    name            text        primary key,
    profile         text        not null,
    mapping         text        not null,
    mqtt_publishers text,
    webhooks        text,
    attached_at     timestamptz not null default now()
);

-- Destinations of sources that have no tables of their own for them.
create table andon.mqtt_publishers (
    id                 uuid        primary key default gen_random_uuid(),
    tenant_id          text        not null default '',
    name               text        not null,
    broker_url         text        not null,
    port               integer     not null default 1883,
    username           text,
    password           text,
    use_tls            boolean     not null default false,
    topic_pattern      text        not null default '{enterprise}/{site}/{area}/{cell}/{event}',
    events             text[],
    active             boolean     not null default true,
    default_enterprise text,
    default_site       text,
    default_area       text,
    settings           jsonb       not null default '{}',
    created_at         timestamptz not null default now()
);

create table andon.webhooks (
    id         uuid        primary key default gen_random_uuid(),
    tenant_id  text        not null default '',
    url        text        not null,
    secret_key text,
    events     text[],
    active     boolean     not null default true,
    settings   jsonb       not null default '{}',
    created_at timestamptz not null default now()
);

-- A change of a destination reaches the daemon at once. `attach` puts the same trigger on a source's own tables.
create function andon.destinations_changed() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform pg_notify('andon', 'destinations');
    return null;
end $$;
create trigger andon_destinations after insert or update or delete or truncate on andon.mqtt_publishers
    for each statement execute function andon.destinations_changed();
create trigger andon_destinations after insert or update or delete or truncate on andon.webhooks
    for each statement execute function andon.destinations_changed();
create trigger andon_destinations after insert or update or delete or truncate on andon.sources
    for each statement execute function andon.destinations_changed();
