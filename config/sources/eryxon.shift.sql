-- A shift in two job shops on one eryxon system. README.md in this folder explains the format.

-- plant
insert into tenants (id, name, company_name) values
    ('0000000a-0000-4000-8000-000000000000', 'acme', 'Acme Metalworks'),
    ('0000000b-0000-4000-8000-000000000000', 'globex', 'Globex Turning');
insert into cells (tenant_id, name, sequence)
select '0000000a-0000-4000-8000-000000000000', name, sequence
from unnest(array['Laser 1', 'Press Brake 2', 'Weld Cell 3']) with ordinality cell (name, sequence);
insert into profiles (id, tenant_id, username, full_name) values
    ('0000000c-0000-4000-8000-000000000000', '0000000a-0000-4000-8000-000000000000', 'kim', 'Kim Example');
insert into scrap_reasons (id, tenant_id, code, description, category) values
    ('0000000d-0000-4000-8000-000000000000', '0000000a-0000-4000-8000-000000000000', 'BURR', 'Burr on the edge', 'process');
insert into cells (tenant_id, name) values ('0000000b-0000-4000-8000-000000000000', 'Lathe 4');
insert into resources (tenant_id, name, identifier, location) values
    ('0000000a-0000-4000-8000-000000000000', 'Bending tool set', 'T-114', 'Rack 7');

-- > Order A-:n of Northwind Rail is taken in, with two operations
insert into jobs (tenant_id, job_number, customer, due_date, current_cell_id)
select tenant_id, 'A-:n', 'Northwind Rail', '2030-06-14 16:00+00', id from cells where name = 'Laser 1';
insert into parts (tenant_id, job_id, part_number, material, quantity, current_cell_id)
select tenant_id, id, 'P-A-:n', 'S235', 12, current_cell_id from jobs where job_number = 'A-:n';
insert into operations (tenant_id, part_id, cell_id, operation_name, sequence, estimated_time)
select p.tenant_id, p.id, c.id, step.name, step.sequence, 1.5
from parts p
cross join (values ('Laser cut', 'Laser 1', 1), ('Bend', 'Press Brake 2', 2)) step (name, cell, sequence)
join cells c on c.name = step.cell
where p.part_number = 'P-A-:n';

-- > Kim is to cut A-:n, in two steps and in the nest N-:n
update operations set assigned_operator_id = '0000000c-0000-4000-8000-000000000000'
where operation_name = 'Laser cut' and part_id = (select id from parts where part_number = 'P-A-:n');
insert into substeps (tenant_id, operation_id, name, sequence)
select tenant_id, id, step, place from operations, unnest(array['Load the sheet', 'Cut']) with ordinality steps (step, place)
where operation_name = 'Laser cut' and part_id = (select id from parts where part_number = 'P-A-:n') order by place;
insert into operation_batches (tenant_id, batch_number, batch_type, status, cell_id, material, operations_count)
select tenant_id, 'N-:n', 'laser_nesting', 'ready', id, 'S235', 1 from cells where name = 'Laser 1';

-- > The nest N-:n starts
update operation_batches set status = 'in_progress', started_by = '0000000c-0000-4000-8000-000000000000', started_at = now()
where batch_number = 'N-:n';

-- > Laser cut of A-:n starts, and the order with it
update operations set status = 'in_progress'
where operation_name = 'Laser cut' and part_id = (select id from parts where part_number = 'P-A-:n');
update parts set status = 'in_progress' where part_number = 'P-A-:n';
update jobs set status = 'in_progress' where job_number = 'A-:n';

-- x Laser cut of A-:n is booked as completed by mistake, and taken back
update operations set status = 'completed', actual_time = 99
where part_id = (select id from parts where part_number = 'P-A-:n');

-- > Globex takes in order B-:n and starts turning at once
insert into jobs (tenant_id, job_number, customer, status)
values ('0000000b-0000-4000-8000-000000000000', 'B-:n', 'Müller & Söhne', 'not_started');
insert into parts (tenant_id, job_id, part_number, material)
select tenant_id, id, 'P-B-:n', 'C45' from jobs where job_number = 'B-:n';
insert into operations (tenant_id, part_id, cell_id, operation_name, estimated_time)
select p.tenant_id, p.id, c.id, 'Turn', 0.4 from parts p join cells c on c.name = 'Lathe 4' where p.part_number = 'P-B-:n';
update operations set status = 'in_progress' where part_id = (select id from parts where part_number = 'P-B-:n');

-- > Laser cut of A-:n is put on hold: no gas
update operations set status = 'on_hold', actual_time = 0.25
where operation_name = 'Laser cut' and part_id = (select id from parts where part_number = 'P-A-:n');

-- > Laser cut of A-:n goes on
update operations set status = 'in_progress'
where operation_name = 'Laser cut' and part_id = (select id from parts where part_number = 'P-A-:n');

-- > Laser cut of A-:n is completed
update operations set status = 'completed', actual_time = 1.3, completion_percentage = 100
where operation_name = 'Laser cut' and part_id = (select id from parts where part_number = 'P-A-:n');
update jobs set current_cell_id = (select id from cells where name = 'Press Brake 2') where job_number = 'A-:n';

-- > The nest N-:n is through, with twelve good parts and two of scrap, and the sheet was loaded
update substeps set status = 'completed', completed_by = '0000000c-0000-4000-8000-000000000000', completed_at = now()
where sequence = 1 and operation_id = (select o.id from operations o join parts p on p.id = o.part_id
                                       where o.operation_name = 'Laser cut' and p.part_number = 'P-A-:n');
insert into operation_quantities (tenant_id, operation_id, recorded_by, quantity_produced, quantity_good, quantity_scrap, scrap_reason_id)
select o.tenant_id, o.id, '0000000c-0000-4000-8000-000000000000', good + scrap, good, scrap, '0000000d-0000-4000-8000-000000000000'
from operations o join parts p on p.id = o.part_id, (values (12, 1), (0, 1)) reports (good, scrap)
where o.operation_name = 'Laser cut' and p.part_number = 'P-A-:n';
update operation_batches set status = 'completed', completed_by = '0000000c-0000-4000-8000-000000000000', completed_at = now(), actual_time = 78
where batch_number = 'N-:n';

-- > The bending tools are taken for A-:n
update resources set status = case status when 'available' then 'in_use' else 'available' end where identifier = 'T-114';

-- > A burr is found on A-:n
insert into issues (tenant_id, operation_id, description, severity)
select tenant_id, id, 'Burr on the edge, outside tolerance', 'high'
from operations where operation_name = 'Laser cut' and part_id = (select id from parts where part_number = 'P-A-:n');

-- > Order A-:n and its part wait for the quality engineer
update parts set status = 'on_hold' where part_number = 'P-A-:n';
update jobs set status = 'on_hold' where job_number = 'A-:n';

-- > The burr on A-:n is accepted as real
update issues set status = 'approved'
where operation_id in (select id from operations where part_id = (select id from parts where part_number = 'P-A-:n'));

-- > The burr on A-:n is ground off, and work goes on
update issues set status = 'closed', resolution_notes = 'Ground off'
where operation_id in (select id from operations where part_id = (select id from parts where part_number = 'P-A-:n'));
update parts set status = 'in_progress' where part_number = 'P-A-:n';
update jobs set status = 'in_progress' where job_number = 'A-:n';

-- > A sheet of A-:n does not conform, which is reported and settled
insert into issues (tenant_id, operation_id, created_by, description, severity, issue_type, ncr_category, affected_quantity)
select tenant_id, id, '0000000c-0000-4000-8000-000000000000', 'Wrong thickness on the certificate', 'low', 'ncr', 'material_defect', 2
from operations where operation_name = 'Laser cut' and part_id = (select id from parts where part_number = 'P-A-:n');
update issues set status = 'closed', disposition = 'use_as_is', resolution_notes = 'Measured: within tolerance' where issue_type = 'ncr' and status = 'pending'
    and operation_id in (select id from operations where part_id = (select id from parts where part_number = 'P-A-:n'));

-- > The customer of A-:n wants two more, a week later
update parts set quantity = quantity + 2 where part_number = 'P-A-:n';
update jobs set due_date_override = '2030-06-21 16:00+00' where job_number = 'A-:n';

-- > B-:n is turned, inspected and booked in one go
update operations set status = 'completed', actual_time = 0.38 where part_id = (select id from parts where part_number = 'P-B-:n');
update parts set status = 'completed' where part_number = 'P-B-:n';
update jobs set status = 'completed' where job_number = 'B-:n';

-- > Bend of A-:n starts
update operations set status = 'in_progress'
where operation_name = 'Bend' and part_id = (select id from parts where part_number = 'P-A-:n');

-- > Bend of A-:n is completed, and the order with it
update operations set status = 'completed', actual_time = 0.9
where operation_name = 'Bend' and part_id = (select id from parts where part_number = 'P-A-:n');
update parts set status = 'completed' where part_number = 'P-A-:n';
update jobs set status = 'completed' where job_number = 'A-:n';

-- > Shipment S-:n is planned
insert into shipments (tenant_id, job_id, shipment_number, scheduled_date, carrier_name)
select tenant_id, id, 'S-:n', '2030-06-20', 'Contoso Freight' from jobs where job_number = 'A-:n';
update shipments set status = 'planned' where shipment_number = 'S-:n';

-- > Shipment S-:n leaves
update shipments set status = 'in_transit', tracking_number = 'CF-:n' where shipment_number = 'S-:n';

-- > Shipment S-:n arrives
update shipments set status = 'delivered' where shipment_number = 'S-:n';

-- > The ERP sends two orders to Globex
insert into jobs (tenant_id, job_number, customer, external_source, external_id)
select '0000000b-0000-4000-8000-000000000000', 'E-:n-' || place, 'Fabrikam', 'erp_sap', ':n-' || place
from generate_series(1, 2) place;
insert into sync_imports (tenant_id, source, entity_type, status, total_records, created_count)
values ('0000000b-0000-4000-8000-000000000000', 'erp_sap', 'jobs', 'completed', 2, 2);

-- x An import of parts breaks off half-way
insert into parts (tenant_id, job_id, part_number)
select tenant_id, id, 'P-' || job_number from jobs where job_number like 'E-:n-%';
insert into sync_imports (tenant_id, source, entity_type, status)
values ('0000000b-0000-4000-8000-000000000000', 'erp_sap', 'parts', 'completed');

-- > The parts of the two orders are imported at the second try
insert into parts (tenant_id, job_id, part_number)
select tenant_id, id, 'P-' || job_number from jobs where job_number like 'E-:n-%' order by job_number;
insert into sync_imports (tenant_id, source, entity_type, status, total_records, created_count)
values ('0000000b-0000-4000-8000-000000000000', 'erp_sap', 'parts', 'completed', 2, 2);

-- > Globex deletes one of the two again
update parts set deleted_at = now() where part_number = 'P-E-:n-2';
update jobs set deleted_at = now() where job_number = 'E-:n-2';
