-- Stretches of the log that somebody wants to be delivered again. A replay is a lane with an end: it is listed beside its destination, with
-- a row of its own in `andon.lanes` for as long as it runs.

create table andon.replays (
    id        bigint      primary key generated always as identity,
    lane      text        not null,
    since     timestamptz not null,
    until     timestamptz not null,
    events    text[]      not null,
    first_id  bigint      not null,
    last_id   bigint      not null constraint replay_has_a_direction check (last_id >= first_id),
    total     bigint      not null,
    state     text        not null default 'running' constraint replay_state_is_known check (state in ('running', 'done', 'cancelled')),
    delivered bigint      not null default 0,
    dead      bigint      not null default 0,
    lost      bigint      not null default 0,
    asked_at  timestamptz not null default now(),
    ended_at  timestamptz
);
create index replays_running on andon.replays (id) where state = 'running';

alter table andon.lanes add column replay bigint, add column delivered bigint not null default 0;
comment on column andon.lanes.replay is 'Which replay this is the lane of; only what is pending is still to be delivered again';
comment on column andon.lanes.delivered is 'Deliveries that this lane has written down as made, from its first to its last checkpoint';

-- How far back the log reaches.
alter table andon.tail add column forgotten timestamptz;
comment on column andon.tail.forgotten is 'When the newest event was captured that is not in the log any more';

create or replace function andon.empty_log(part regclass, past bigint) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '50ms' as $$
declare
    is_needed boolean;
    newest    timestamptz;
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
    execute format('select captured_at from only %s order by id desc limit 1', part) into newest;
    update andon.tail set forgotten = greatest(forgotten, newest);
    execute format('truncate only %s', part);
    return true;
exception when lock_not_available then
    return false;
end $$;
