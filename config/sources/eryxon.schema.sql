-- The reference schema of the eryxon source (seed 000): the tables that config/sources/eryxon.toml captures, and those around them that
-- a demonstration or a test needs. It runs on PostgreSQL 14 and later, and leaves out row-level security and billing. Real installations
-- differ in places, which is why a mapping is checked against the live database.

create type public.job_status as enum ('not_started', 'in_progress', 'completed', 'on_hold');
create type public.task_status as enum ('not_started', 'in_progress', 'completed', 'on_hold');
create type public.issue_status as enum ('pending', 'approved', 'rejected', 'closed');
create type public.issue_type as enum ('general', 'ncr');
create type public.ncr_category as enum ('material_defect', 'dimensional', 'surface_finish', 'process_error', 'other');
create type public.ncr_disposition as enum ('scrap', 'rework', 'use_as_is', 'return_to_supplier');
create type public.batch_status as enum ('draft', 'ready', 'in_progress', 'completed', 'cancelled');
create type public.batch_type as enum ('laser_nesting', 'tube_batch', 'saw_batch', 'finishing_batch', 'general');
create type public.issue_severity as enum ('low', 'medium', 'high', 'critical');
create type public.app_role as enum ('operator', 'admin');
create type public.subscription_plan as enum ('free', 'pro', 'premium', 'enterprise');
create type public.subscription_status as enum ('active', 'cancelled', 'suspended', 'trial');
create type public.shipment_status as enum ('draft', 'planned', 'loading', 'in_transit', 'delivered', 'cancelled');

create table public.tenants (
    id                       uuid primary key default gen_random_uuid(),
    name                     text not null,
    company_name             text,
    plan                     public.subscription_plan not null default 'free',
    status                   public.subscription_status not null default 'active',
    max_jobs                 integer,
    max_parts_per_month      integer,
    current_jobs             integer not null default 0,
    current_parts_this_month integer not null default 0,
    demo_mode_enabled        boolean not null default false,
    timezone                 text not null default 'Europe/Amsterdam',
    factory_opening_time     time not null default '07:00',
    factory_closing_time     time not null default '17:00',
    created_at               timestamptz not null default now(),
    updated_at               timestamptz not null default now()
);

create table public.profiles (
    id                   uuid primary key default gen_random_uuid(),
    tenant_id            uuid not null references public.tenants (id),
    email                text,
    username             text,
    full_name            text,
    role                 public.app_role not null default 'operator',
    active               boolean not null default true,
    employee_id          text,
    pin_hash             text,
    has_email_login      boolean not null default false,
    is_machine           boolean not null default false,
    is_root_admin        boolean not null default false,
    onboarding_completed boolean not null default false,
    created_at           timestamptz not null default now(),
    updated_at           timestamptz not null default now()
);

create table public.cells (
    id                     uuid primary key default gen_random_uuid(),
    tenant_id              uuid not null references public.tenants (id),
    name                   text not null,
    description            text,
    sequence               integer not null default 0,
    color                  text,
    icon_name              text,
    image_url              text,
    active                 boolean not null default true,
    wip_limit              integer,
    wip_warning_threshold  integer,
    enforce_wip_limit      boolean not null default false,
    show_capacity_warning  boolean not null default false,
    capacity_hours_per_day numeric,
    external_id            text,
    external_source        text,
    synced_at              timestamptz,
    deleted_at             timestamptz,
    deleted_by             uuid,
    created_at             timestamptz not null default now(),
    updated_at             timestamptz not null default now()
);

create table public.jobs (
    id                uuid primary key default gen_random_uuid(),
    tenant_id         uuid not null references public.tenants (id),
    job_number        text not null,
    customer          text,
    status            public.job_status not null default 'not_started',
    due_date          timestamptz,
    due_date_override timestamptz,
    current_cell_id   uuid references public.cells (id),
    notes             text,
    metadata          jsonb,
    external_id       text,
    external_source   text,
    sync_hash         text,
    synced_at         timestamptz,
    deleted_at        timestamptz,
    deleted_by        uuid,
    created_at        timestamptz not null default now(),
    updated_at        timestamptz not null default now()
);
create unique index idx_jobs_external_sync on public.jobs (tenant_id, external_source, external_id) where external_id is not null;
create index idx_jobs_active on public.jobs (tenant_id, created_at desc) where deleted_at is null;

create table public.parts (
    id                   uuid primary key default gen_random_uuid(),
    tenant_id            uuid not null references public.tenants (id),
    job_id               uuid not null references public.jobs (id) on delete cascade,
    part_number          text not null,
    material             text,
    quantity             integer not null default 1,
    status               public.job_status not null default 'not_started',
    current_cell_id      uuid references public.cells (id),
    drawing_no           text,
    cnc_program_name     text,
    parent_part_id       uuid references public.parts (id),
    length_mm            numeric,
    width_mm             numeric,
    height_mm            numeric,
    weight_kg            numeric,
    material_lot         text,
    material_supplier    text,
    material_cert_number text,
    image_paths          text[],
    file_paths           text[],
    is_bullet_card       boolean not null default false,
    notes                text,
    metadata             jsonb,
    external_id          text,
    external_source      text,
    sync_hash            text,
    synced_at            timestamptz,
    deleted_at           timestamptz,
    deleted_by           uuid,
    created_at           timestamptz not null default now(),
    updated_at           timestamptz not null default now()
);
create unique index idx_parts_external_sync on public.parts (tenant_id, external_source, external_id) where external_id is not null;
create index idx_parts_active on public.parts (tenant_id, job_id) where deleted_at is null;

create table public.operations (
    id                    uuid primary key default gen_random_uuid(),
    tenant_id             uuid not null references public.tenants (id),
    part_id               uuid not null references public.parts (id) on delete cascade,
    cell_id               uuid not null references public.cells (id),
    operation_name        text not null,
    sequence              integer not null default 0,
    status                public.task_status not null default 'not_started',
    estimated_time        numeric not null default 0,
    actual_time           numeric not null default 0,
    setup_time            numeric,
    run_time_per_unit     numeric,
    changeover_time       numeric,
    wait_time             numeric,
    planned_start         timestamptz,
    planned_end           timestamptz,
    completed_at          timestamptz,
    completion_percentage integer not null default 0,
    assigned_operator_id  uuid references public.profiles (id),
    icon_name             text,
    notes                 text,
    metadata              jsonb,
    external_id           text,
    external_source       text,
    synced_at             timestamptz,
    deleted_at            timestamptz,
    deleted_by            uuid,
    created_at            timestamptz not null default now(),
    updated_at            timestamptz not null default now()
);
create unique index idx_operations_external_sync on public.operations (tenant_id, external_source, external_id)
    where external_id is not null;
create index idx_operations_active on public.operations (tenant_id, part_id) where deleted_at is null;

create table public.resources (
    id              uuid primary key default gen_random_uuid(),
    tenant_id       uuid not null references public.tenants (id),
    name            text not null,
    type            text not null default 'equipment',
    identifier      text,
    description     text,
    location        text,
    status          text not null default 'available',
    active          boolean not null default true,
    metadata        jsonb,
    external_id     text,
    external_source text,
    synced_at       timestamptz,
    deleted_at      timestamptz,
    deleted_by      uuid,
    created_at      timestamptz not null default now(),
    updated_at      timestamptz not null default now()
);

create table public.operation_resources (
    id           uuid primary key default gen_random_uuid(),
    operation_id uuid not null references public.operations (id) on delete cascade,
    resource_id  uuid not null references public.resources (id) on delete cascade,
    quantity     integer not null default 1,
    notes        text,
    created_at   timestamptz not null default now()
);

create table public.time_entries (
    id           uuid primary key default gen_random_uuid(),
    tenant_id    uuid not null references public.tenants (id),
    operation_id uuid not null references public.operations (id) on delete cascade,
    operator_id  uuid not null references public.profiles (id),
    start_time   timestamptz not null default now(),
    end_time     timestamptz,
    duration     integer,
    notes        text,
    created_at   timestamptz not null default now()
);

create table public.issues (
    id               uuid primary key default gen_random_uuid(),
    tenant_id        uuid not null references public.tenants (id),
    operation_id     uuid not null references public.operations (id) on delete cascade,
    created_by       uuid references public.profiles (id),
    description      text not null,
    severity         public.issue_severity not null default 'medium',
    status           public.issue_status not null default 'pending',
    resolution_notes text,
    reviewed_by      uuid references public.profiles (id),
    reviewed_at      timestamptz,
    image_paths      text[],
    issue_type       public.issue_type not null default 'general',
    ncr_category     public.ncr_category,
    disposition      public.ncr_disposition,
    affected_quantity integer,
    created_at       timestamptz not null default now(),
    updated_at       timestamptz not null default now()
);

create table public.operation_batches (
    id               uuid primary key default gen_random_uuid(),
    tenant_id        uuid not null references public.tenants (id),
    batch_number     text not null,
    batch_type       public.batch_type not null default 'general',
    status           public.batch_status not null default 'draft',
    cell_id          uuid not null references public.cells (id),
    material         text,
    operations_count integer not null default 0,
    actual_time      numeric(10, 2),
    started_by       uuid,
    completed_by     uuid,
    started_at       timestamptz,
    completed_at     timestamptz,
    created_at       timestamptz not null default now(),
    updated_at       timestamptz default now()
);

create table public.substeps (
    id           uuid primary key default gen_random_uuid(),
    tenant_id    uuid not null references public.tenants (id),
    operation_id uuid not null references public.operations (id) on delete cascade,
    name         text not null,
    sequence     integer not null,
    status       text default 'not_started' check (status in ('not_started', 'in_progress', 'completed', 'blocked')),
    notes        text,
    completed_at timestamptz,
    completed_by uuid,
    created_at   timestamptz default now(),
    updated_at   timestamptz default now()
);

create table public.scrap_reasons (
    id          uuid primary key default gen_random_uuid(),
    tenant_id   uuid not null references public.tenants (id),
    code        text not null,
    description text not null,
    category    text not null,
    active      boolean not null default true
);

create table public.operation_quantities (
    id                uuid primary key default gen_random_uuid(),
    tenant_id         uuid not null references public.tenants (id),
    operation_id      uuid not null references public.operations (id) on delete cascade,
    recorded_by       uuid,
    quantity_produced integer not null default 0,
    quantity_good     integer not null default 0,
    quantity_scrap    integer not null default 0,
    quantity_rework   integer not null default 0,
    scrap_reason_id   uuid references public.scrap_reasons (id),
    recorded_at       timestamptz not null default now(),
    notes             text,
    created_at        timestamptz not null default now()
);

create table public.shipments (
    id                      uuid primary key default gen_random_uuid(),
    tenant_id               uuid not null references public.tenants (id),
    job_id                  uuid references public.jobs (id) on delete set null,
    shipment_number         text not null,
    status                  public.shipment_status not null default 'draft',
    scheduled_date          date,
    destination_name        text,
    carrier_name            text,
    tracking_number         text,
    total_weight_kg         numeric,
    total_packages          integer,
    actual_departure_time   timestamptz,
    actual_arrival_time     timestamptz,
    created_at              timestamptz not null default now(),
    updated_at              timestamptz not null default now()
);

create table public.sync_imports (
    id            uuid primary key default gen_random_uuid(),
    tenant_id     uuid not null references public.tenants (id),
    source        text not null,
    entity_type   text not null,
    status        text not null default 'pending',
    total_records integer not null default 0,
    created_count integer not null default 0,
    updated_count integer not null default 0,
    skipped_count integer not null default 0,
    error_count   integer not null default 0,
    errors        jsonb,
    file_name     text,
    started_at    timestamptz,
    completed_at  timestamptz,
    created_by    uuid,
    created_at    timestamptz not null default now()
);

create table public.webhooks (
    id         uuid primary key default gen_random_uuid(),
    tenant_id  uuid not null references public.tenants (id),
    url        text not null,
    events     text[] not null default '{}',
    secret_key text not null,
    active     boolean not null default true,
    created_at timestamptz not null default now()
);

create table public.mqtt_publishers (
    id                 uuid primary key default gen_random_uuid(),
    tenant_id          uuid not null references public.tenants (id),
    name               text not null,
    description        text,
    broker_url         text not null,
    port               integer not null default 1883,
    username           text,
    password           text,
    topic_pattern      text not null default '{enterprise}/{site}/{area}/{cell}/{event}',
    default_enterprise text default 'eryxon',
    default_site       text default 'main',
    default_area       text default 'production',
    use_tls            boolean not null default false,
    events             text[] not null default '{}',
    active             boolean not null default true,
    last_connected_at  timestamptz,
    last_error         text,
    created_at         timestamptz not null default now(),
    updated_at         timestamptz not null default now(),
    created_by         uuid
);

create function public.generate_sync_hash(payload jsonb) returns text
language sql immutable as $$ select md5(payload::text) $$;
