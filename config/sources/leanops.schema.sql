-- The reference schema of the leanops source (seed 002, "Supabase Schema v1 (Draft)"), for PostgreSQL 14 and later. It is our reading of
-- a document: tables, columns and types are the document's own, and so are `timestamp` columns without a zone.
--
-- The document leaves some points open, for which this schema assumes:
-- * The document names the values of a status in a remark next to the column, so they are checks here. A mapping is checked against the
--   live database.
-- * `uuid_generate_v4()` needs an extension; gen_random_uuid() is PostgreSQL's own.
-- * The document says that station_assignments.updated_at "auto-updates for real-time"; here a trigger does it.
-- * The document calls the foreign keys of performance_logs and events_log optional; here they have none, so that a log outlives its
--   station and its job.
-- * An assignment is deleted with its station or job. There is no tenant, and no row-level security.
-- * Supabase keeps its clock in UTC, so times without a zone are UTC (`time_zone` in leanops.toml).

create table public.stations (
    id         text primary key,
    name       text not null,
    line       text,
    status     text not null default 'idle' constraint station_status check (status in ('running', 'idle', 'blocked')),
    is_active  boolean not null default true,
    created_at timestamp not null default now()
);

create table public.jobs (
    id         text primary key,
    part_name  text not null,
    qty_total  integer not null,
    due_date   date,
    priority   text not null default 'normal' constraint job_priority check (priority in ('normal', 'high')),
    status     text not null default 'waiting' constraint job_status check (status in ('waiting', 'running', 'completed')),
    created_at timestamp not null default now()
);

create table public.station_assignments (
    id         uuid primary key default gen_random_uuid(),
    station_id text not null references public.stations (id) on delete cascade,
    job_id     text not null references public.jobs (id) on delete cascade,
    qty_done   integer not null default 0,
    started_at timestamp,
    updated_at timestamp not null default now()
);
create index station_assignments_station on public.station_assignments (station_id);
create index station_assignments_job on public.station_assignments (job_id, updated_at);

create function public.touch_updated_at() returns trigger
language plpgsql as $$
begin
    new.updated_at := now();
    return new;
end $$;
create trigger station_assignments_touch before update on public.station_assignments
    for each row execute function public.touch_updated_at();

create table public.performance_logs (
    id            uuid primary key default gen_random_uuid(),
    station_id    text,
    job_id        text,
    qty_completed integer not null default 0,
    "timestamp"   timestamp not null default now()
);
create index performance_logs_station on public.performance_logs (station_id, "timestamp");

create table public.events_log (
    id          uuid primary key default gen_random_uuid(),
    event_type  text not null,
    station_id  text,
    job_id      text,
    meta        jsonb,
    "timestamp" timestamp not null default now()
);
create index events_log_timestamp on public.events_log ("timestamp");

create table public.users (
    id         uuid primary key default gen_random_uuid(),
    email      text not null unique,
    role       text not null default 'operator' constraint user_role check (role in ('supervisor', 'operator', 'admin')),
    created_at timestamp not null default now()
);
