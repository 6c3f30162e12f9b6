-- A database that nobody prepared for Andon: 54 tables of an ERP with a shop floor, in the style of systems that are generated from a
-- typed client (quoted camelCase, tables in the singular, a key with the company in it, enumerations with blanks in their labels, row-level
-- security). Its shape follows public schemas of that kind; the names and everything in it are written for this test.

create type "jobStatus" as enum ('Draft', 'Planned', 'Ready', 'In Progress', 'Paused', 'Completed', 'Cancelled');
create type "jobOperationStatus" as enum ('Todo', 'Ready', 'Waiting', 'In Progress', 'Paused', 'Done', 'Canceled');
create type "salesOrderStatus" as enum ('Draft', 'Confirmed', 'In Progress', 'Shipped', 'Invoiced', 'Closed');
create type "nonConformanceStatus" as enum ('Registered', 'In Progress', 'Closed');
create type "productionEventType" as enum ('Setup', 'Labor', 'Machine');
create type "machineState" as enum ('RUNNING', 'IDLE', 'DOWN', 'SETUP');
create domain "shipStatus" as text check (value in ('Draft', 'Pending', 'Posted', 'Voided'));

-- Who works here.
create table company (id text primary key, name text not null, "taxId" text, "apiKey" text);
create table "user" (id text primary key, email text not null, "passwordHash" text, "fullName" text, status text);
create table employee (id text not null, "companyId" text not null references company (id), "userId" text references "user" (id), status text, primary key (id, "companyId"));
create table "employeeShift" (id text primary key, "companyId" text not null references company (id), "employeeId" text);
create table "userToCompany" ("userId" text references "user" (id), "companyId" text references company (id), primary key ("userId", "companyId"));
create table "apiKey" (id text primary key, "companyId" text not null references company (id), "keyHash" text not null, status text);
create table "userSession" (id text primary key, "userId" text references "user" (id), token text, status text);
create table permission (id text primary key, "companyId" text references company (id), name text);
create table "companySetting" (id text primary key references company (id), "digitalQuoteEnabled" boolean);
create table "auditLog" (id bigint generated always as identity primary key, "companyId" text, "tableName" text, diff jsonb);
create table "notificationPreference" (id text primary key, "companyId" text references company (id), status text);
create table "schemaVersion" (version int primary key, "appliedAt" timestamptz);

-- Where it is.
create table site (id text primary key, "companyId" text not null references company (id), name text not null);
create table department (id text primary key, "companyId" text not null references company (id), "siteId" text references site (id), name text not null);
create table "productionLine" (id text primary key, "companyId" text not null references company (id), "departmentId" text references department (id), name text not null);
create table "workCenter" (id text primary key, "companyId" text not null references company (id), "productionLineId" text references "productionLine" (id), name text not null, "laborRate" numeric, active boolean default true);
create table machine (
    id text primary key, "companyId" text not null references company (id), "workCenterId" text references "workCenter" (id),
    name text not null, "serialNumber" text, state "machineState" not null default 'IDLE', "accessToken" text, "deletedAt" timestamptz
);
create table "machineReading" (id bigint generated always as identity primary key, "machineId" text references machine (id), "companyId" text, value numeric, status text);
create table warehouse (id text primary key, "companyId" text not null references company (id), "siteId" text references site (id), name text);
create table shelf (id text primary key, "companyId" text not null references company (id), "warehouseId" text references warehouse (id));

-- With whom: the company of a contact is its employer, and none of the tenants.
create table "customerType" (id text primary key, "companyId" text not null references company (id), name text);
create table customer (
    id text primary key, "companyId" text not null references company (id), name text not null, "customerTypeId" text references "customerType" (id),
    city text, state text, "contactEmail" text
);
create table contact (id text primary key, "companyId" text not null references company (id), "customerId" text references customer (id), email text, status text);
create table supplier (id text primary key, "companyId" text not null references company (id), name text not null, city text, state text);

-- What is made.
create table "unitOfMeasure" (code text primary key, name text);
create table item (
    id text primary key, "companyId" text not null references company (id), "readableId" text, "partNumber" text not null, name text not null,
    "unitOfMeasureCode" text references "unitOfMeasure" (code), active boolean, "deletedAt" timestamptz
);
create table "itemCost" (id text primary key, "companyId" text not null references company (id), "itemId" text references item (id), "unitCost" numeric);
create table process (id text primary key, "companyId" text not null references company (id), name text not null);
create table "makeMethod" (id text primary key, "companyId" text not null references company (id), "itemId" text references item (id), version int);
create table "methodMaterial" (id text primary key, "companyId" text not null references company (id), "makeMethodId" text references "makeMethod" (id), "itemId" text references item (id), quantity numeric);
create table "methodOperation" (id text primary key, "companyId" text not null references company (id), "makeMethodId" text references "makeMethod" (id), "processId" text references process (id));

-- Orders.
create table "salesOrder" (
    id text primary key, "companyId" text not null references company (id), "salesOrderId" text, "orderNumber" text not null,
    "customerId" text references customer (id), "orderStatus" "salesOrderStatus" not null default 'Draft',
    "paymentStatus" text check ("paymentStatus" in ('Unpaid', 'Paid')), "previousStatus" text, "promisedAt" timestamp, "deletedAt" timestamptz
);
create table "salesOrderLine" (
    id text primary key, "companyId" text not null references company (id), "salesOrderId" text references "salesOrder" (id),
    line int, "itemId" text references item (id), quantity numeric
);
create table quote (id text primary key, "companyId" text not null references company (id), "quoteNumber" text, status text not null default 'Draft' check (status = 'Draft' or status = 'Sent' or status = 'Won' or status = 'Lost'));
create table "quoteLine" (id text primary key, "companyId" text not null references company (id), "quoteId" text references quote (id));
create table "purchaseOrderStatus" (id int primary key, name text not null);
create table "purchaseOrder" (
    id text primary key, "companyId" text not null references company (id), "orderNumber" text, "supplierId" text references supplier (id),
    "statusId" int not null references "purchaseOrderStatus" (id)
);
create table "purchaseOrderLine" (id text primary key, "companyId" text not null references company (id), "purchaseOrderId" text references "purchaseOrder" (id));

-- Work. Its keys have the company in them, as every reference to them does.
create table job (
    id text not null, "companyId" text not null references company (id), "jobNumber" text not null, "itemId" text references item (id),
    "salesOrderId" text references "salesOrder" (id), "customerId" text references customer (id), status "jobStatus" not null default 'Draft',
    quantity numeric not null default 1, "dueDate" date, "createdAt" timestamptz default now(), "createdBy" text, "isDeleted" boolean not null default false,
    primary key (id, "companyId")
);
create table "jobOperation" (
    id text not null, "companyId" text not null references company (id), "jobId" text not null, "processId" text references process (id),
    "workCenterId" text references "workCenter" (id), "operationOrder" int, description text, status "jobOperationStatus" not null default 'Todo',
    "setupTime" numeric, "quantityComplete" numeric not null default 0, "quantityScrapped" numeric not null default 0,
    primary key (id, "companyId"), foreign key ("jobId", "companyId") references job (id, "companyId") on delete cascade
);
create table "jobMaterial" (
    id text not null, "companyId" text not null references company (id), "jobId" text not null, "itemId" text references item (id), quantity numeric,
    primary key (id, "companyId"), foreign key ("jobId", "companyId") references job (id, "companyId") on delete cascade
);
create table "jobOperationNote" (
    id text primary key, "jobOperationId" text, "companyId" text, note text,
    foreign key ("jobOperationId", "companyId") references "jobOperation" (id, "companyId") on delete cascade
);
create table "productionEvent" (
    id text primary key, "companyId" text not null references company (id), "jobOperationId" text not null, type "productionEventType",
    "startTime" timestamptz not null default now(), "endTime" timestamptz, "workCenterId" text references "workCenter" (id),
    foreign key ("jobOperationId", "companyId") references "jobOperation" (id, "companyId") on delete cascade
);
create table "productionQuantity" (id text primary key, "companyId" text not null references company (id), "jobOperationId" text, quantity numeric);
create table "scrapReason" (id text primary key, "companyId" text not null references company (id), name text);

-- Quality and stock. What moves is stored by month.
create table "nonConformance" (
    id text primary key, "companyId" text not null references company (id), "nonConformanceNumber" text not null, title text,
    status "nonConformanceStatus" not null default 'Registered', "jobId" text, "assigneeId" text references "user" (id),
    foreign key ("jobId", "companyId") references job (id, "companyId")
);
create table "nonConformanceTask" (id text primary key, "nonConformanceId" text not null references "nonConformance" (id) on delete cascade, status text not null default 'Pending');
create table gauge (id text primary key, "companyId" text not null references company (id), "gaugeNumber" text, "gaugeStatus" text check ("gaugeStatus" in ('Active', 'Inactive')));
create table "stockMovement" (
    id bigint generated always as identity, "companyId" text not null references company (id), "itemId" text references item (id),
    quantity numeric not null, "postedAt" timestamptz not null default now(), primary key (id, "postedAt")
) partition by range ("postedAt");
create table "stockMovement_old" partition of "stockMovement" for values from (minvalue) to ('2026-01-01');
create table "stockMovement_rest" partition of "stockMovement" default;
create table shipment (
    id text primary key, "companyId" text not null references company (id), "shipmentNumber" text not null,
    "salesOrderId" text references "salesOrder" (id), "shipmentStatus" "shipStatus" not null default 'Draft', "trackingNumber" text
);
create table "shipmentLine" (id text primary key, "shipmentId" text references shipment (id) on delete cascade, quantity numeric);
create table receipt (id text primary key, "companyId" text not null references company (id), "receiptNumber" text, status "shipStatus" not null default 'Draft');
create table invoice (id text primary key, "companyId" text not null references company (id), "invoiceNumber" text, status text, "paidAt" timestamp);
create table maintenance_dispatch (id serial primary key, "companyId" text not null references company (id), "machineId" text references machine (id), status varchar(20) not null default 'open');

create view "openJob" as select id, "jobNumber", status from job where status <> 'Completed';

-- Everybody sees only what belongs to the company of the session.
do $$
declare secured text;
begin
    foreach secured in array array['job', '"jobOperation"', '"nonConformance"', 'machine', 'shipment'] loop
        execute format('alter table %s enable row level security', secured);
        execute format('create policy own on %s using ("companyId" = current_setting(''app.company'', true))', secured);
    end loop;
end $$;
