-- The reference schema of the productions source (seed 003): the tables that config/sources/productions.toml captures, and those around
-- them that a demonstration or a test needs. It runs on PostgreSQL 14 and later, without extensions.
--
-- The document gives the columns of organizations, workspaces, organization_members, activities and notifications, which are the same
-- here. Of the module tables it gives the name, one line on their purpose, the standard columns of every entity table (id, workspace_id,
-- created_by, created_at, updated_at, custom_fields) and four usual sequences of a status. This schema assumes:
--   * the other columns of the module tables, named after its conventions (snake_case, a foreign key is the table in the singular and _id);
--   * statuses as text in snake case: productions planning, active, completed, archived; tasks todo, in_progress, done; bookings and
--     approvals pending, approved, denied; milestones pending, completed; incidents open, investigating, resolved, closed;
--     maintenance scheduled, in_progress, completed; purchase orders draft, submitted, approved, ordered, received, cancelled;
--   * soft deletes: there are none, rows are deleted;
--   * users: they are in Supabase's auth.users, in another schema, so user columns have no foreign key here;
--   * notifications belong to a user and not to a workspace, as in the document;
--   * audit_logs: a plain trail, because the document mentions neither a hash chain nor a rule against changes.

create table public.organizations (
    id                     uuid primary key default gen_random_uuid(),
    name                   text not null,
    slug                   text not null unique,
    plan                   text not null default 'free' check (plan in ('free', 'pro', 'business', 'enterprise')),
    status                 text not null default 'active',
    stripe_customer_id     text,
    stripe_subscription_id text,
    metadata               jsonb not null default '{}'
);

create table public.workspaces (
    id              uuid primary key default gen_random_uuid(),
    organization_id uuid not null references public.organizations (id),
    name            text not null,
    slug            text not null,
    settings        jsonb not null default '{}',
    metadata        jsonb not null default '{}',
    unique (organization_id, slug)
);

create table public.organization_members (
    id              uuid primary key default gen_random_uuid(),
    organization_id uuid not null references public.organizations (id),
    user_id         uuid not null,
    role            text not null default 'member' check (role in ('owner', 'admin', 'member', 'guest')),
    status          text not null default 'active',
    joined_at       timestamptz not null default now(),
    unique (organization_id, user_id)
);

-- --- Companies, locations, assets -------------------------------------------------------------------------------------------------

create table public.companies (
    id            uuid primary key default gen_random_uuid(),
    workspace_id  uuid not null references public.workspaces (id),
    name          text not null,
    kind          text not null default 'vendor',
    created_by    uuid,
    created_at    timestamptz not null default now(),
    updated_at    timestamptz not null default now(),
    custom_fields jsonb not null default '{}'
);

create table public.locations (
    id            uuid primary key default gen_random_uuid(),
    workspace_id  uuid not null references public.workspaces (id),
    name          text not null,
    kind          text not null default 'venue',
    created_by    uuid,
    created_at    timestamptz not null default now(),
    updated_at    timestamptz not null default now(),
    custom_fields jsonb not null default '{}'
);

create table public.assets (
    id            uuid primary key default gen_random_uuid(),
    workspace_id  uuid not null references public.workspaces (id),
    name          text not null,
    asset_tag     text,
    status        text not null default 'available',
    location_id   uuid references public.locations (id),
    created_by    uuid,
    created_at    timestamptz not null default now(),
    updated_at    timestamptz not null default now(),
    custom_fields jsonb not null default '{}'
);

-- --- Projects ---------------------------------------------------------------------------------------------------------------------

create table public.productions (
    id            uuid primary key default gen_random_uuid(),
    workspace_id  uuid not null references public.workspaces (id),
    name          text not null,
    description   text,
    status        text not null default 'planning',
    start_date    date,
    end_date      date,
    budget        numeric(14, 2),
    currency      text not null default 'EUR',
    created_by    uuid,
    created_at    timestamptz not null default now(),
    updated_at    timestamptz not null default now(),
    custom_fields jsonb not null default '{}'
);
create index idx_productions_workspace on public.productions (workspace_id);
create index idx_productions_status on public.productions (workspace_id, status);
create index idx_productions_search on public.productions
    using gin (to_tsvector('english', name || ' ' || coalesce(description, '')));
create index idx_custom_fields on public.productions using gin (custom_fields);

create table public.project_tasks (
    id            uuid primary key default gen_random_uuid(),
    workspace_id  uuid not null references public.workspaces (id),
    production_id uuid not null references public.productions (id) on delete cascade,
    title         text not null,
    description   text,
    status        text not null default 'todo',
    priority      text not null default 'normal',
    progress      integer not null default 0 check (progress between 0 and 100),
    assignee_id   uuid,
    due_date      date,
    completed_at  timestamptz,
    created_by    uuid,
    created_at    timestamptz not null default now(),
    updated_at    timestamptz not null default now(),
    custom_fields jsonb not null default '{}'
);
create index idx_project_tasks_production on public.project_tasks (production_id);

create table public.project_milestones (
    id            uuid primary key default gen_random_uuid(),
    workspace_id  uuid not null references public.workspaces (id),
    production_id uuid not null references public.productions (id) on delete cascade,
    name          text not null,
    status        text not null default 'pending',
    due_date      date,
    completed_at  timestamptz,
    created_by    uuid,
    created_at    timestamptz not null default now(),
    updated_at    timestamptz not null default now(),
    custom_fields jsonb not null default '{}'
);
create index idx_project_milestones_production on public.project_milestones (production_id);

-- --- Events -----------------------------------------------------------------------------------------------------------------------

create table public.events (
    id            uuid primary key default gen_random_uuid(),
    workspace_id  uuid not null references public.workspaces (id),
    production_id uuid references public.productions (id) on delete cascade,
    location_id   uuid references public.locations (id),
    name          text not null,
    event_type    text not null default 'performance',
    status        text not null default 'draft',
    start_time    timestamptz,
    end_time      timestamptz,
    created_by    uuid,
    created_at    timestamptz not null default now(),
    updated_at    timestamptz not null default now(),
    custom_fields jsonb not null default '{}'
);
create index idx_events_dates on public.events (workspace_id, start_time, end_time);
create index idx_events_production on public.events (production_id);

create table public.bookings (
    id            uuid primary key default gen_random_uuid(),
    workspace_id  uuid not null references public.workspaces (id),
    event_id      uuid references public.events (id) on delete cascade,
    location_id   uuid references public.locations (id),
    asset_id      uuid references public.assets (id),
    status        text not null default 'pending',
    start_time    timestamptz not null,
    end_time      timestamptz not null,
    notes         text,
    created_by    uuid,
    created_at    timestamptz not null default now(),
    updated_at    timestamptz not null default now(),
    custom_fields jsonb not null default '{}'
);
create index idx_bookings_event on public.bookings (event_id);

create table public.incidents (
    id            uuid primary key default gen_random_uuid(),
    workspace_id  uuid not null references public.workspaces (id),
    production_id uuid references public.productions (id) on delete cascade,
    event_id      uuid references public.events (id) on delete cascade,
    location_id   uuid references public.locations (id),
    title         text not null,
    description   text,
    severity      text not null default 'medium',
    status        text not null default 'open',
    incident_time timestamptz,
    reported_by   uuid,
    resolved_at   timestamptz,
    created_by    uuid,
    created_at    timestamptz not null default now(),
    updated_at    timestamptz not null default now(),
    custom_fields jsonb not null default '{}'
);
create index idx_incidents_production on public.incidents (production_id);
create index idx_incidents_event on public.incidents (event_id);

-- --- Assets -----------------------------------------------------------------------------------------------------------------------

create table public.asset_transactions (
    id               uuid primary key default gen_random_uuid(),
    workspace_id     uuid not null references public.workspaces (id),
    asset_id         uuid not null references public.assets (id),
    production_id    uuid references public.productions (id) on delete set null,
    transaction_type text not null,
    quantity         integer not null default 1,
    user_id          uuid,
    due_back_at      timestamptz,
    notes            text,
    created_by       uuid,
    created_at       timestamptz not null default now(),
    updated_at       timestamptz not null default now(),
    custom_fields    jsonb not null default '{}'
);
create index idx_asset_transactions_asset on public.asset_transactions (asset_id);

create table public.asset_maintenance (
    id               uuid primary key default gen_random_uuid(),
    workspace_id     uuid not null references public.workspaces (id),
    asset_id         uuid not null references public.assets (id),
    maintenance_type text not null default 'inspection',
    status           text not null default 'scheduled',
    scheduled_date   date,
    completed_at     timestamptz,
    cost             numeric(12, 2),
    notes            text,
    created_by       uuid,
    created_at       timestamptz not null default now(),
    updated_at       timestamptz not null default now(),
    custom_fields    jsonb not null default '{}'
);
create index idx_asset_maintenance_asset on public.asset_maintenance (asset_id);

-- --- Finance and procurement ------------------------------------------------------------------------------------------------------

create table public.purchase_orders (
    id            uuid primary key default gen_random_uuid(),
    workspace_id  uuid not null references public.workspaces (id),
    production_id uuid references public.productions (id) on delete set null,
    company_id    uuid references public.companies (id),
    po_number     text not null,
    status        text not null default 'draft',
    total_amount  numeric(14, 2) not null default 0,
    currency      text not null default 'EUR',
    order_date    date,
    expected_date date,
    created_by    uuid,
    created_at    timestamptz not null default now(),
    updated_at    timestamptz not null default now(),
    custom_fields jsonb not null default '{}',
    unique (workspace_id, po_number)
);

create table public.approval_requests (
    id            uuid primary key default gen_random_uuid(),
    workspace_id  uuid not null references public.workspaces (id),
    entity_type   text not null,
    entity_id     uuid not null,
    status        text not null default 'pending',
    amount        numeric(14, 2),
    currency      text,
    requested_by  uuid,
    approver_id   uuid,
    decided_at    timestamptz,
    comments      text,
    created_by    uuid,
    created_at    timestamptz not null default now(),
    updated_at    timestamptz not null default now(),
    custom_fields jsonb not null default '{}'
);
create index idx_approval_requests_entity on public.approval_requests (entity_type, entity_id);

-- --- Tables that all modules share ------------------------------------------------------------------------------------------------

create table public.activities (
    id           uuid primary key default gen_random_uuid(),
    workspace_id uuid references public.workspaces (id),
    user_id      uuid,
    action       text not null,
    entity_type  text,
    entity_id    uuid,
    metadata     jsonb not null default '{}',
    created_at   timestamptz not null default now()
);
create index idx_activities_workspace on public.activities (workspace_id, created_at);

create table public.notifications (
    id          uuid primary key default gen_random_uuid(),
    user_id     uuid not null,
    type        text not null,
    title       text not null,
    message     text,
    entity_type text,
    entity_id   uuid,
    read        boolean not null default false,
    action_url  text,
    created_at  timestamptz not null default now()
);
create index idx_notifications_user on public.notifications (user_id, created_at);

create table public.audit_logs (
    id           uuid primary key default gen_random_uuid(),
    workspace_id uuid references public.workspaces (id),
    user_id      uuid,
    action       text not null,
    entity_type  text,
    entity_id    uuid,
    changes      jsonb,
    ip_address   inet,
    user_agent   text,
    created_at   timestamptz not null default now()
);
create index idx_audit_logs_workspace on public.audit_logs (workspace_id, created_at);
