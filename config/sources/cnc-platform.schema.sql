-- The reference schema of the cnc-platform source (seed 004): the tables that config/sources/cnc-platform.toml captures, and those around
-- them that a demonstration or a test needs. It runs on PostgreSQL 14 and later, without extensions. Columns, types and keys are those of
-- the document. Of its indexes, only those that keys and lookups need are here. The table licenses is left out. The document leaves some
-- points open, for which this schema assumes:
--   * setups and projects are referenced but not described; a setup is assumed to name the machine that it is for;
--   * statuses of CAM runs: pending, running, completed, failed (it names completed only); a simulation that is under way is running
--     (it names the outcomes passed, failed and warnings, and a column for the time of completion);
--   * timestamps have no zone; they are read as UTC;
--   * the hash chain: chain_hash = SHA256(prev_chain_hash || canonical_json(record)) leaves open what the record is, how it is written, and
--     who computes the hash. Here the database computes it. The record is audit_record() below: compact JSON with its keys in order. The
--     columns that describe a person or a state (entity_data, changes, ip_address, user_agent, session_id) are in it as one SHA-256, so
--     that a chain can be verified by someone who may not see them. The first entry follows 64 zeros. There is one chain. Its writers wait
--     for each other with an advisory lock until they commit, and an id is assigned under that lock, so that the ids have the order of the
--     chain;
--   * an audit entry cannot be changed or deleted, except by the `on delete set null` of its user and session that the document asks for.
--     The entry's own hash still covers the user that it had.

create table public.users (
    id            serial primary key,
    email         varchar(255) unique not null,
    phone         varchar(20) unique,
    password_hash varchar(255),
    role          varchar(50) not null default 'engineer' check (role in ('admin', 'engineer', 'operator', 'viewer')),
    company_name  varchar(255),
    tax_no        varchar(20),
    address       text,
    locale        varchar(10) not null default 'tr',
    timezone      varchar(50) default 'Europe/Istanbul',
    is_active     boolean default true,
    is_verified   boolean default false,
    created_at    timestamp not null default now(),
    updated_at    timestamp not null default now(),
    last_login_at timestamp,
    metadata      jsonb
);

create table public.sessions (
    id                 serial primary key,
    user_id            integer not null references public.users (id) on delete cascade,
    refresh_token_hash varchar(255) unique not null,
    access_token_jti   varchar(255),
    ip_address         inet,
    user_agent         text,
    device_id          varchar(255),
    expires_at         timestamp not null,
    revoked_at         timestamp,
    created_at         timestamp not null default now()
);
create index idx_sessions_user_id on public.sessions (user_id);

create table public.projects (
    id         serial primary key,
    user_id    integer not null references public.users (id) on delete restrict,
    name       varchar(255) not null,
    created_at timestamp not null default now()
);

create table public.models (
    id               serial primary key,
    user_id          integer not null references public.users (id) on delete restrict,
    project_id       integer references public.projects (id) on delete cascade,
    name             varchar(255) not null,
    description      text,
    type             varchar(50) not null check (type in ('part', 'assembly', 'drawing')),
    file_format      varchar(20) not null,
    s3_key           varchar(1024) unique not null,
    file_size        bigint not null,
    sha256_hash      char(64) not null,
    version          integer not null default 1,
    parent_model_id  integer references public.models (id) on delete set null,
    metadata         jsonb,
    thumbnail_s3_key varchar(1024),
    is_deleted       boolean default false,
    created_at       timestamp not null default now(),
    updated_at       timestamp not null default now()
);
create index idx_models_user_id on public.models (user_id);

create table public.machines (
    id                 serial primary key,
    name               varchar(255) not null,
    manufacturer       varchar(100),
    model              varchar(100),
    type               varchar(50) not null,
    axes               integer not null check (axes >= 3 and axes <= 9),
    work_envelope_x_mm numeric(10, 2) not null,
    work_envelope_y_mm numeric(10, 2) not null,
    work_envelope_z_mm numeric(10, 2) not null,
    spindle_max_rpm    integer not null,
    spindle_power_kw   numeric(10, 2),
    tool_capacity      integer,
    controller         varchar(100),
    post_processor     varchar(100) not null,
    hourly_rate        numeric(10, 2),
    specifications     jsonb,
    is_active          boolean default true,
    created_at         timestamp not null default now(),
    updated_at         timestamp not null default now()
);

create table public.setups (
    id         serial primary key,
    machine_id integer references public.machines (id) on delete restrict,
    name       varchar(255) not null,
    created_at timestamp not null default now()
);

create table public.tools (
    id                   serial primary key,
    name                 varchar(200) not null,
    type                 varchar(50) not null,
    material             varchar(50),
    coating              varchar(100),
    manufacturer         varchar(100),
    part_number          varchar(100),
    diameter_mm          numeric(10, 3),
    flute_count          integer,
    flute_length_mm      numeric(10, 2),
    overall_length_mm    numeric(10, 2),
    shank_diameter_mm    numeric(10, 2),
    corner_radius_mm     numeric(10, 3),
    helix_angle_deg      numeric(5, 2),
    max_depth_of_cut_mm  numeric(10, 2),
    specifications       jsonb,
    tool_life_minutes    integer,
    cost                 numeric(10, 2),
    quantity_available   integer default 0,
    minimum_stock        integer default 0,
    location             varchar(100),
    is_active            boolean default true,
    created_at           timestamp not null default now(),
    updated_at           timestamp not null default now()
);
create index idx_tools_inventory on public.tools (quantity_available) where quantity_available < minimum_stock;

create table public.jobs (
    id              serial primary key,
    idempotency_key varchar(255) unique,
    user_id         integer references public.users (id) on delete restrict,
    type            varchar(50) not null check (type in ('cad_generate', 'cam_process', 'sim_run', 'gcode_post')),
    status          varchar(50) not null check (status in ('pending', 'queued', 'running', 'completed', 'failed', 'cancelled')),
    priority        integer default 0,
    task_id         varchar(255),
    input_params    jsonb not null,
    output_data     jsonb,
    progress        integer default 0 check (progress >= 0 and progress <= 100),
    started_at      timestamp,
    finished_at     timestamp,
    error_code      varchar(100),
    error_message   text,
    retry_count     integer default 0,
    max_retries     integer default 3,
    timeout_seconds integer default 3600,
    metrics         jsonb,
    created_at      timestamp not null default now(),
    updated_at      timestamp not null default now()
);
create index idx_jobs_user_id on public.jobs (user_id) where user_id is not null;
create index idx_jobs_type_status on public.jobs (type, status);

create table public.cam_runs (
    id                     serial primary key,
    job_id                 integer not null references public.jobs (id) on delete restrict,
    model_id               integer not null references public.models (id) on delete restrict,
    setup_id               integer references public.setups (id) on delete restrict,
    strategy               varchar(100) not null,
    tool_paths             jsonb,
    cutting_params         jsonb not null,
    estimated_time_seconds integer,
    material_removal_cc    numeric(10, 2),
    output_s3_key          varchar(1024),
    status                 varchar(50) not null,
    error_details          text,
    created_at             timestamp not null default now(),
    completed_at           timestamp
);
create index idx_cam_runs_job_id on public.cam_runs (job_id);

create table public.sim_runs (
    id                        serial primary key,
    job_id                    integer not null references public.jobs (id) on delete restrict,
    cam_run_id                integer references public.cam_runs (id) on delete cascade,
    type                      varchar(50) not null,
    machine_id                integer references public.machines (id) on delete restrict,
    collision_count           integer default 0,
    collision_details         jsonb,
    material_removal_accuracy numeric(5, 2),
    simulation_time_ms        integer,
    video_s3_key              varchar(1024),
    report_s3_key             varchar(1024),
    status                    varchar(50) not null,
    created_at                timestamp not null default now(),
    completed_at              timestamp
);
create index idx_sim_runs_job_id on public.sim_runs (job_id);

create table public.artefacts (
    id         serial primary key,
    job_id     integer not null references public.jobs (id) on delete cascade,
    type       varchar(50) not null,
    name       varchar(255) not null,
    s3_key     varchar(1024) unique not null,
    file_size  bigint not null,
    mime_type  varchar(100),
    sha256     char(64),
    metadata   jsonb,
    expires_at timestamp,
    created_at timestamp not null default now()
);
create index idx_artefacts_job_id on public.artefacts (job_id);

create table public.notifications (
    id         serial primary key,
    user_id    integer not null references public.users (id) on delete cascade,
    type       varchar(50) not null,
    severity   varchar(20) not null default 'info' check (severity in ('info', 'warning', 'error', 'critical')),
    title      varchar(255) not null,
    message    text not null,
    data       jsonb,
    is_read    boolean default false,
    read_at    timestamp,
    action_url varchar(1024),
    expires_at timestamp,
    created_at timestamp not null default now()
);

create table public.erp_mes_sync (
    id              serial primary key,
    external_system varchar(100) not null,
    entity_type     varchar(50) not null,
    entity_id       integer not null,
    external_id     varchar(255) not null,
    sync_direction  varchar(20) not null check (sync_direction in ('inbound', 'outbound')),
    sync_status     varchar(50) not null check (sync_status in ('pending', 'synced', 'failed')),
    sync_data       jsonb,
    error_message   text,
    retry_count     integer default 0,
    synced_at       timestamp,
    created_at      timestamp not null default now(),
    updated_at      timestamp not null default now()
);
create index idx_erp_mes_sync_entity on public.erp_mes_sync (entity_type, entity_id);

create table public.invoices (
    id                   serial primary key,
    user_id              integer not null references public.users (id) on delete restrict,
    invoice_number       varchar(50) unique not null,
    type                 varchar(50) not null check (type in ('subscription', 'usage', 'one_time')),
    status               varchar(50) not null check (status in ('draft', 'sent', 'paid', 'overdue', 'cancelled')),
    currency             char(3) not null default 'TRY' check (currency in ('TRY', 'USD', 'EUR')),
    subtotal             numeric(12, 2) not null,
    tax_rate             numeric(5, 2) not null default 20.00,
    tax_amount           numeric(12, 2) not null,
    total                numeric(12, 2) not null,
    line_items           jsonb not null,
    billing_period_start date,
    billing_period_end   date,
    due_date             date not null,
    paid_at              timestamp,
    payment_method       varchar(50),
    notes                text,
    pdf_s3_key           varchar(1024),
    created_at           timestamp not null default now(),
    updated_at           timestamp not null default now()
);

create table public.payments (
    id            serial primary key,
    invoice_id    integer references public.invoices (id) on delete restrict,
    user_id       integer not null references public.users (id) on delete restrict,
    provider      varchar(50) not null,
    provider_ref  varchar(255) unique not null,
    method        varchar(50) not null,
    currency      char(3) not null check (currency in ('TRY', 'USD', 'EUR')),
    amount        numeric(12, 2) not null,
    fee           numeric(10, 2) default 0,
    status        varchar(50) not null check (status in ('pending', 'completed', 'failed', 'refunded')),
    metadata      jsonb,
    refund_amount numeric(12, 2) default 0,
    refund_reason text,
    processed_at  timestamp,
    created_at    timestamp not null default now()
);
create index idx_payments_invoice_id on public.payments (invoice_id) where invoice_id is not null;

create table public.security_events (
    id          serial primary key,
    event_type  varchar(100) not null,
    severity    varchar(20) not null,
    user_id     integer references public.users (id) on delete set null,
    ip_address  inet,
    details     jsonb not null,
    resolved    boolean default false,
    resolved_at timestamp,
    resolved_by integer references public.users (id) on delete set null,
    notes       text,
    created_at  timestamp not null default now()
);

-- --- The audit trail --------------------------------------------------------------------------------------------------------------

create table public.audit_logs (
    id              serial primary key,
    user_id         integer references public.users (id) on delete set null,
    action          varchar(100) not null,
    entity_type     varchar(50) not null,
    entity_id       integer,
    entity_data     jsonb,
    changes         jsonb,
    ip_address      inet,
    user_agent      text,
    session_id      integer references public.sessions (id) on delete set null,
    chain_hash      char(64) unique not null,
    prev_chain_hash char(64) not null,
    created_at      timestamp not null default now()
);
create index idx_audit_logs_entity on public.audit_logs (entity_type, entity_id);
create index idx_audit_logs_created_at on public.audit_logs (created_at desc);

-- Returns the record that an entry's hash covers, in addition to the hash of the entry before it.
create function public.audit_record(
    user_id integer, action text, entity_type text, entity_id integer, created_at timestamp,
    entity_data jsonb, changes jsonb, ip_address inet, user_agent text, session_id integer
) returns text
language sql immutable set search_path = pg_catalog as $$
    select format(
        '{"action":%s,"created_at":"%s","details_sha256":"%s","entity_id":%s,"entity_type":%s,"user_id":%s}',
        to_json(action), to_char(created_at, 'YYYY-MM-DD"T"HH24:MI:SS.US'),
        encode(sha256(convert_to(jsonb_build_array(entity_data, changes, host(ip_address), user_agent, session_id)::text, 'UTF8')), 'hex'),
        coalesce(entity_id::text, 'null'), to_json(entity_type), coalesce(user_id::text, 'null'))
$$;

-- Lets one transaction write at a time, from before its first entry has an id until it commits.
create function public.audit_queue() returns trigger
language plpgsql set search_path = pg_catalog as $$
begin
    perform pg_advisory_xact_lock(hashtextextended('public.audit_logs', 0));
    return null;
end $$;
create trigger audit_queue before insert on public.audit_logs for each statement execute function public.audit_queue();

create function public.audit_link() returns trigger
language plpgsql security definer set search_path = pg_catalog as $$
begin
    new.prev_chain_hash := coalesce((select last.chain_hash from public.audit_logs as last order by last.id desc limit 1), repeat('0', 64));
    new.chain_hash := encode(sha256(convert_to(new.prev_chain_hash || public.audit_record(
        new.user_id, new.action, new.entity_type, new.entity_id, new.created_at,
        new.entity_data, new.changes, new.ip_address, new.user_agent, new.session_id), 'UTF8')), 'hex');
    return new;
end $$;
create trigger audit_link before insert on public.audit_logs for each row execute function public.audit_link();

create function public.audit_is_append_only() returns trigger
language plpgsql set search_path = pg_catalog as $$
begin
    if tg_op = 'UPDATE' and to_jsonb(new) - 'user_id' - 'session_id' = to_jsonb(old) - 'user_id' - 'session_id'
        and (new.user_id is null or new.user_id = old.user_id) and (new.session_id is null or new.session_id = old.session_id)
    then
        return new;
    end if;
    raise exception 'audit_logs is append-only' using errcode = 'insufficient_privilege';
end $$;
create trigger audit_is_append_only before update or delete on public.audit_logs
    for each row execute function public.audit_is_append_only();
create trigger audit_is_not_emptied before truncate on public.audit_logs
    for each statement execute function public.audit_is_append_only();
