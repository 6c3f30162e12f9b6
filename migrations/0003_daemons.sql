-- Several daemons on one database share the lanes. Each holds a lease and renews it each second; a lane belongs to a daemon for as long as
-- that one lives. Times are this server's, whatever the clocks of the daemons say.

create table andon.daemons (
    daemon      uuid        primary key,
    name        text        not null,
    version     text        not null,
    started_at  timestamptz not null default clock_timestamp(),
    lease_until timestamptz not null
) with (fillfactor = 50);
comment on table andon.daemons is 'One row for each `andon run`, for as long as it lives';

alter table andon.lanes add column daemon uuid;
comment on column andon.lanes.daemon is 'Who serves the lane; nobody, or one that is gone: it is free';

-- While the server was down nobody could renew. So that not all lanes change hands after each restart of it, every lease holds for a
-- while after the start.
create function andon.lives(lease_until timestamptz) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
    select greatest(lease_until, pg_postmaster_start_time() + interval '3 seconds') > clock_timestamp()
$$;
