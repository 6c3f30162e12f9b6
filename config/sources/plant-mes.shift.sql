-- plant
insert into public.organizations (id, name, code) values (1, 'Acme Metalworks', 'ACME'), (2, 'Nordwerk', 'NORD');
insert into public.users (id, organization_id, email, full_name) values
    (1, 1, 'ann@acme.example', 'Ann Ortega'), (2, 1, 'bob@acme.example', 'Bob Lindqvist'),
    (3, 2, 'jule@nordwerk.example', 'Jule Petersen');
insert into public.plants (id, organization_id, code, name) values (1, 1, 'CHI', 'Chicago'), (2, 2, 'HAM', 'Hamburg');
insert into public.departments (id, organization_id, plant_id, code, name) values
    (1, 1, 1, 'FAB', 'Fabrication'), (2, 1, 1, 'ASM', 'Assembly'), (3, 2, 2, 'ZER', 'Zerspanung');
insert into public.materials (id, organization_id, material_number, description) values
    (1, 1, 'PN-1001', 'Bracket'), (2, 1, 'RM-DC01', 'Sheet DC01, 2 mm'), (3, 2, 'W-77', 'Welle');
insert into public.lanes (id, organization_id, plant_id, code, name) values
    (1, 1, 1, 'L1', 'Lane 1'), (2, 1, 1, 'L2', 'Lane 2'), (3, 2, 2, 'S1', 'Spur 1');
insert into public.work_centers (id, organization_id, plant_id, department_id, lane_id, code, name) values
    (1, 1, 1, 1, 1, 'LAS', 'Laser'), (2, 1, 1, 1, 1, 'PRB', 'Press Brake'), (3, 1, 1, 2, 2, 'WLD', 'Weld Cell'),
    (4, 2, 2, 3, 3, 'DRE', 'Dreherei');
insert into public.machines (id, organization_id, work_center_id, code, name) values
    (1, 1, 1, 'M-LAS-1', 'TruLaser 3030'), (2, 1, 2, 'M-PRB-1', 'Xpert 80'), (3, 2, 4, 'M-DRE-1', 'CTX 450');
insert into public.shifts (id, organization_id, plant_id, name, start_time, end_time) values
    (1, 1, 1, 'Early', '06:00', '14:00'), (2, 1, 1, 'Late', '14:00', '22:00'),
    (3, 2, 2, 'Früh', '06:00', '14:00'), (4, 2, 2, 'Spät', '14:00', '22:00');
insert into public.inspection_plans (id, organization_id, material_id, name) values (1, 1, 1, 'Bracket, in process'), (2, 2, 3, 'Welle');
insert into public.inspection_points (id, organization_id, inspection_plan_id, work_center_id, name) values
    (1, 1, 1, 1, 'After cutting'), (2, 2, 2, 4, 'Nach Drehen');
insert into public.inspection_characteristics (id, organization_id, inspection_point_id, name, unit, target_value, lower_limit, upper_limit)
values (1, 1, 1, 'Hole diameter', 'mm', 8.00, 7.90, 8.10), (2, 2, 2, 'Durchmesser', 'mm', 25.00, 24.98, 25.02);
insert into public.workflows (id, organization_id, name, entity_type) values (1, 1, 'Release of work orders', 'work_order'),
    (2, 2, 'Freigabe', 'work_order');
insert into public.workflow_states (id, organization_id, workflow_id, name) values (1, 1, 1, 'Draft'), (2, 1, 1, 'Approved'),
    (3, 2, 2, 'Entwurf'), (4, 2, 2, 'Freigegeben');
-- The rows of a cycle have ids that start at ten times its number: + 1 to + 5 are Acme's, + 6 to + 9 are Nordwerk's. The plant's own rows
-- have the ids up to 10.
insert into public.work_orders (id, organization_id, plant_id, department_id, material_id, work_order_number, status, quantity_planned)
values (1, 1, 1, 1, 1, 'WO-A1', 'completed', 20), (2, 1, 1, 1, 1, 'WO-A2', 'planned', 60), (3, 2, 2, 3, 3, 'WO-A1', 'planned', 15);
insert into public.lot_batches (id, organization_id, plant_id, material_id, lot_number, status, quantity, quantity_available)
values (1, 1, 1, 2, 'LOT-DC01-A', 'released', 5000, 5000), (2, 2, 2, 3, 'CH-77-A', 'released', 200, 200);

-- > SAP sends WO-:n to Acme
set local app.current_organization_id = '1';
insert into public.sap_sync_logs (id, organization_id, sync_direction, entity_type, entity_id, sap_object_type, sap_object_key, operation,
                                  status, started_at)
values (10 * :n + 1, 1, 'inbound', 'work_order', 10 * :n + 1, 'ProductionOrder', lpad(':n', 12, '0'), 'create', 'in_progress',
        timestamptz '2026-03-02 06:00+00' + :n * interval '1 minute');
insert into public.work_orders (id, organization_id, plant_id, department_id, material_id, work_order_number, priority, quantity_planned,
                                due_date, sap_order_number, created_by)
values (10 * :n + 1, 1, 1, 1, 1, 'WO-:n', 5, 40, '2026-03-20', lpad(':n', 12, '0'), 1);
insert into public.work_order_operations (id, organization_id, work_order_id, work_center_id, operation_number, name)
values (10 * :n + 1, 1, 10 * :n + 1, 1, 10, 'Laser cut'), (10 * :n + 2, 1, 10 * :n + 1, 2, 20, 'Bend'),
       (10 * :n + 3, 1, 10 * :n + 1, 3, 30, 'Weld');
update public.sap_sync_logs set status = 'success'
where id = 10 * :n + 1 and started_at = timestamptz '2026-03-02 06:00+00' + :n * interval '1 minute';

-- > SAP sends WO-:n to Nordwerk
set local app.current_organization_id = '2';
insert into public.sap_sync_logs (id, organization_id, sync_direction, entity_type, entity_id, sap_object_type, sap_object_key, operation,
                                  status, started_at)
values (10 * :n + 6, 2, 'inbound', 'work_order', 10 * :n + 6, 'ProductionOrder', 'N' || lpad(':n', 11, '0'), 'create', 'success',
        timestamptz '2026-04-02 06:00+00' + :n * interval '1 minute');
insert into public.work_orders (id, organization_id, plant_id, department_id, material_id, work_order_number, priority, quantity_planned,
                                due_date, sap_order_number, created_by)
values (10 * :n + 6, 2, 2, 3, 3, 'WO-:n', 5, 15, '2026-04-24', 'N' || lpad(':n', 11, '0'), 3);
insert into public.work_order_operations (id, organization_id, work_order_id, work_center_id, operation_number, name)
values (10 * :n + 6, 2, 10 * :n + 6, 4, 10, 'Drehen');
insert into public.lane_assignments (id, organization_id, lane_id, work_order_id) values (10 * :n + 6, 2, 3, 10 * :n + 6);

-- > WO-:n is planned for Lane 1, more of it and sooner
set local app.current_organization_id = '1';
insert into public.lane_assignments (id, organization_id, lane_id, work_order_id, scheduled_date)
values (10 * :n + 1, 1, 1, 10 * :n + 1, '2026-03-03');
update public.work_orders set priority = 1, quantity_planned = 50, due_date = '2026-03-13' where id = 10 * :n + 1;

-- > WO-:n released in Chicago
set local app.current_organization_id = '1';
insert into public.workflow_history (id, organization_id, workflow_id, entity_type, entity_id, from_state_id, to_state_id, action,
                                     performed_by, comments)
values (10 * :n + 1, 1, 1, 'work_order', 10 * :n + 1, 1, 2, 'approve', 1, 'Margin is fine');
update public.work_orders set status = 'released' where id = 10 * :n + 1;
update public.work_order_operations set status = 'ready' where id = 10 * :n + 1;
insert into public.audit_logs (id, organization_id, entity_type, entity_id, entity_identifier, action, action_category, user_id, user_email,
                               changes_after, chain_hash, prev_chain_hash, "timestamp")
values (10 * :n + 1, 1, 'work_order', 10 * :n + 1, 'WO-:n', 'release', 'production', 1, 'ann@acme.example', '{"status": "released"}',
        encode(sha256(convert_to(repeat('0', 64) || 'WO-:n release', 'UTF8')), 'hex'), repeat('0', 64),
        timestamptz '2026-03-02 06:10+00' + :n * interval '1 minute');

-- > WO-:n released in Hamburg
set local app.current_organization_id = '2';
insert into public.workflow_history (id, organization_id, workflow_id, entity_type, entity_id, from_state_id, to_state_id, action,
                                     performed_by)
values (10 * :n + 6, 2, 2, 'work_order', 10 * :n + 6, 3, 4, 'approve', 3);
update public.work_orders set status = 'released' where id = 10 * :n + 6;
insert into public.audit_logs (id, organization_id, entity_type, entity_id, entity_identifier, action, action_category, user_id, user_email,
                               changes_after, chain_hash, prev_chain_hash, "timestamp")
values (10 * :n + 6, 2, 'work_order', 10 * :n + 6, 'WO-:n', 'release', 'production', 3, 'jule@nordwerk.example', '{"status": "released"}',
        encode(sha256(convert_to(repeat('0', 64) || 'WO-:n release, Nordwerk', 'UTF8')), 'hex'), repeat('0', 64),
        timestamptz '2026-04-02 06:10+00' + :n * interval '1 minute');

-- > The laser is set up for WO-:n and starts
set local app.current_organization_id = '1';
insert into public.machine_status_history (id, organization_id, machine_id, work_order_id, status, previous_status, started_at)
values (10 * :n + 1, 1, 1, 10 * :n + 1, 'setup', 'idle', timestamptz '2026-03-02 06:20+00' + :n * interval '1 minute'),
       (10 * :n + 2, 1, 1, 10 * :n + 1, 'running', 'setup', timestamptz '2026-03-02 06:30+00' + :n * interval '1 minute');
update public.work_orders set status = 'in_progress' where id = 10 * :n + 1;
update public.work_order_operations set status = 'in_progress' where id = 10 * :n + 1;

-- > Hamburg turns the first shafts of WO-:n
set local app.current_organization_id = '2';
insert into public.machine_status_history (id, organization_id, machine_id, work_order_id, status, previous_status, started_at)
values (10 * :n + 6, 2, 3, 10 * :n + 6, 'running', 'idle', timestamptz '2026-04-02 06:30+00' + :n * interval '1 minute');
update public.work_orders set status = 'in_progress' where id = 10 * :n + 6;
update public.work_order_operations set status = 'in_progress' where id = 10 * :n + 6;
insert into public.production_logs (id, organization_id, plant_id, work_order_id, operation_id, machine_id, operator_id, shift_id,
                                    quantity_produced, logged_at)
values (10 * :n + 6, 2, 2, 10 * :n + 6, 10 * :n + 6, 3, 3, 3, 15, timestamptz '2026-04-02 07:00+00' + :n * interval '1 minute');
insert into public.inspection_measurements (id, organization_id, characteristic_id, work_order_id, measured_value, measured_by, measured_at)
values (10 * :n + 6, 2, 2, 10 * :n + 6, 25.01, 3, timestamptz '2026-04-02 07:05+00' + :n * interval '1 minute');

-- > 20 brackets of WO-:n cut
set local app.current_organization_id = '1';
insert into public.production_logs (id, organization_id, plant_id, work_order_id, operation_id, machine_id, operator_id, shift_id,
                                    quantity_produced, logged_at)
values (10 * :n + 1, 1, 1, 10 * :n + 1, 10 * :n + 1, 1, 2, 1, 20, timestamptz '2026-03-02 07:00+00' + :n * interval '1 minute');
update public.work_orders set quantity_completed = 20 where id = 10 * :n + 1;

-- x A wrong click completes WO-:n and is undone: nobody hears of it
set local app.current_organization_id = '1';
update public.work_order_operations set status = 'completed' where work_order_id = 10 * :n + 1;
update public.work_orders set status = 'completed', quantity_completed = 50 where id = 10 * :n + 1;

-- > The laser is down, WO-:n waits
set local app.current_organization_id = '1';
insert into public.machine_status_history (id, organization_id, machine_id, work_order_id, status, previous_status, reason_code, reason,
                                           started_at)
values (10 * :n + 3, 1, 1, 10 * :n + 1, 'down', 'running', 'E-104', 'Nozzle collision',
        timestamptz '2026-03-02 07:10+00' + :n * interval '1 minute');
update public.work_order_operations set status = 'on_hold', hold_reason = 'Machine down' where id = 10 * :n + 1;
update public.work_orders set status = 'on_hold' where id = 10 * :n + 1;
insert into public.notifications (id, organization_id, user_id, notification_type, title, message, priority, entity_type, entity_id)
values (10 * :n + 1, 1, 1, 'machine_down', 'TruLaser 3030 is down', 'Bob says: call the service at once', 'high', 'work_order',
        10 * :n + 1);

-- > Ann has read it; the laser runs again and WO-:n with it
set local app.current_organization_id = '1';
update public.notifications set is_read = true where id = 10 * :n + 1;
insert into public.machine_status_history (id, organization_id, machine_id, work_order_id, status, previous_status, started_at)
values (10 * :n + 4, 1, 1, 10 * :n + 1, 'running', 'down', timestamptz '2026-03-02 08:00+00' + :n * interval '1 minute');
update public.work_orders set status = 'in_progress' where id = 10 * :n + 1;
update public.work_order_operations set status = 'in_progress', hold_reason = null where id = 10 * :n + 1;

-- > Three holes measured, one too wide
set local app.current_organization_id = '1';
insert into public.inspection_measurements (id, organization_id, characteristic_id, work_order_id, sample_number, measured_value,
                                            is_within_spec, is_in_control, measured_by, measured_at)
values (10 * :n + 1, 1, 1, 10 * :n + 1, 1, 8.01, true, true, 2, timestamptz '2026-03-02 08:10+00' + :n * interval '1 minute'),
       (10 * :n + 2, 1, 1, 10 * :n + 1, 2, 8.09, true, false, 2, timestamptz '2026-03-02 08:11+00' + :n * interval '1 minute'),
       (10 * :n + 3, 1, 1, 10 * :n + 1, 3, 8.14, false, false, 2, timestamptz '2026-03-02 08:12+00' + :n * interval '1 minute');
insert into public.inspection_logs (id, organization_id, work_order_id, operation_id, inspection_plan_id, result, quantity_inspected,
                                    quantity_rejected, inspector_id, notes)
values (10 * :n + 1, 1, 10 * :n + 1, 10 * :n + 1, 1, 'failed', 3, 1, 2, 'Burr at hole 3');

-- > Two brackets scrapped, NCR-:n opened
set local app.current_organization_id = '1';
insert into public.production_logs (id, organization_id, plant_id, work_order_id, operation_id, machine_id, operator_id, shift_id,
                                    quantity_produced, quantity_scrapped, scrap_reason, logged_at)
values (10 * :n + 2, 1, 1, 10 * :n + 1, 10 * :n + 1, 1, 2, 1, 28, 2, 'Hole too wide',
        timestamptz '2026-03-02 08:30+00' + :n * interval '1 minute');
insert into public.ncrs (id, organization_id, plant_id, work_order_id, operation_id, ncr_number, title, defect_type, severity,
                         quantity_defective, reported_by)
values (10 * :n + 1, 1, 1, 10 * :n + 1, 10 * :n + 1, 'NCR-:n', 'Hole diameter out of tolerance', 'dimension', 'major', 2, 2);

-- > NCR-:n opened in Hamburg
set local app.current_organization_id = '2';
insert into public.inspection_logs (id, organization_id, work_order_id, operation_id, inspection_plan_id, result, quantity_inspected,
                                    inspector_id)
values (10 * :n + 6, 2, 10 * :n + 6, 10 * :n + 6, 2, 'passed', 5, 3);
insert into public.ncrs (id, organization_id, plant_id, work_order_id, operation_id, ncr_number, title, defect_type, quantity_defective,
                         reported_by)
values (10 * :n + 6, 2, 2, 10 * :n + 6, 10 * :n + 6, 'NCR-:n', 'Kratzer auf der Welle', 'surface', 1, 3);

-- > Quality reviews NCR-:n: scrap
set local app.current_organization_id = '1';
update public.ncrs set status = 'in_review' where id = 10 * :n + 1;
update public.ncrs set status = 'dispositioned', disposition = 'scrap' where id = 10 * :n + 1;
update public.ncrs set status = 'closed' where id = 10 * :n + 1;
insert into public.inspection_logs (id, organization_id, work_order_id, operation_id, inspection_plan_id, result, quantity_inspected,
                                    inspector_id)
values (10 * :n + 2, 1, 10 * :n + 1, 10 * :n + 1, 1, 'pending', 5, 2);
update public.inspection_logs set result = 'passed' where id = 10 * :n + 2;

-- > Laser cut of WO-:n completed, welding left out
set local app.current_organization_id = '1';
update public.work_order_operations set status = 'completed', quantity_completed = 48, quantity_scrapped = 2 where id = 10 * :n + 1;
update public.work_order_operations set status = 'in_progress' where id = 10 * :n + 2;
update public.work_order_operations set status = 'completed', quantity_completed = 48 where id = 10 * :n + 2;
update public.work_order_operations set status = 'skipped' where id = 10 * :n + 3;
insert into public.machine_status_history (id, organization_id, machine_id, work_order_id, status, previous_status, started_at)
values (10 * :n + 5, 1, 1, 10 * :n + 1, 'idle', 'running', timestamptz '2026-03-02 09:00+00' + :n * interval '1 minute');

-- > A lot and a first serial number of WO-:n, with where they came from
set local app.current_organization_id = '1';
insert into public.lot_batches (id, organization_id, plant_id, material_id, work_order_id, lot_number, quantity, quantity_available,
                                expiry_date)
values (10 * :n + 1, 1, 1, 1, 10 * :n + 1, 'LOT-:n', 48, 48, '2031-03-02');
insert into public.serial_numbers (id, organization_id, plant_id, material_id, work_order_id, lot_batch_id, serial_number)
values (10 * :n + 1, 1, 1, 1, 10 * :n + 1, 10 * :n + 1, 'SN-:n-001');
insert into public.traceability_links (id, organization_id, parent_type, parent_id, child_type, child_id, quantity, work_order_id)
values (10 * :n + 1, 1, 'lot', 1, 'lot', 10 * :n + 1, 48, 10 * :n + 1);
insert into public.genealogy_records (id, organization_id, entity_type, entity_id, operation_type, quantity, work_order_id, work_center_id,
                                      performed_by, recorded_at)
values (10 * :n + 1, 1, 'lot', 10 * :n + 1, 'produced', 48, 10 * :n + 1, 1, 2,
        timestamptz '2026-03-02 09:10+00' + :n * interval '1 minute');

-- > A lot of WO-:n in Hamburg
set local app.current_organization_id = '2';
insert into public.lot_batches (id, organization_id, plant_id, material_id, work_order_id, lot_number, quantity, quantity_available,
                                expiry_date)
values (10 * :n + 6, 2, 2, 3, 10 * :n + 6, 'LOT-:n', 15, 15, '2036-04-02');
insert into public.serial_numbers (id, organization_id, plant_id, material_id, work_order_id, lot_batch_id, serial_number)
values (10 * :n + 6, 2, 2, 3, 10 * :n + 6, 10 * :n + 6, 'SN-:n-001');
insert into public.genealogy_records (id, organization_id, entity_type, entity_id, operation_type, quantity, work_order_id, work_center_id,
                                      performed_by, recorded_at)
values (10 * :n + 6, 2, 'lot', 10 * :n + 6, 'produced', 15, 10 * :n + 6, 4, 3,
        timestamptz '2026-04-02 09:10+00' + :n * interval '1 minute');

-- > LOT-:n released, 10 pieces taken
set local app.current_organization_id = '1';
update public.lot_batches set status = 'released' where id = 10 * :n + 1;
update public.lot_batches set quantity_available = 38 where id = 10 * :n + 1;
update public.serial_numbers set status = 'in_stock' where id = 10 * :n + 1;

-- > WO-:n completed in Chicago
set local app.current_organization_id = '1';
update public.work_orders set status = 'completed', quantity_completed = 48, quantity_scrapped = 2 where id = 10 * :n + 1;
insert into public.audit_logs (id, organization_id, entity_type, entity_id, entity_identifier, action, action_category, user_id, user_email,
                               changes_before, changes_after, chain_hash, prev_chain_hash, "timestamp")
select 10 * :n + 2, 1, 'work_order', 10 * :n + 1, 'WO-:n', 'complete', 'production', 2, 'bob@acme.example', '{"status": "in_progress"}',
       '{"status": "completed"}', encode(sha256(convert_to(chain_hash || 'WO-:n complete', 'UTF8')), 'hex'), chain_hash,
       timestamptz '2026-03-02 10:00+00' + :n * interval '1 minute'
from public.audit_logs where organization_id = 1 and entity_type = 'work_order' and entity_id = 10 * :n + 1;

-- > WO-:n completed in Hamburg
set local app.current_organization_id = '2';
update public.work_order_operations set status = 'completed', quantity_completed = 15 where id = 10 * :n + 6;
update public.work_orders set status = 'completed', quantity_completed = 15 where id = 10 * :n + 6;
insert into public.audit_logs (id, organization_id, entity_type, entity_id, entity_identifier, action, action_category, user_id, user_email,
                               changes_before, changes_after, chain_hash, prev_chain_hash, "timestamp")
select 10 * :n + 7, 2, 'work_order', 10 * :n + 6, 'WO-:n', 'complete', 'production', 3, 'jule@nordwerk.example',
       '{"status": "in_progress"}', '{"status": "completed"}',
       encode(sha256(convert_to(chain_hash || 'WO-:n complete, Nordwerk', 'UTF8')), 'hex'), chain_hash,
       timestamptz '2026-04-02 10:00+00' + :n * interval '1 minute'
from public.audit_logs where organization_id = 2 and entity_type = 'work_order' and entity_id = 10 * :n + 6;

-- > SAP does not take the confirmation of WO-:n, then does
set local app.current_organization_id = '1';
insert into public.sap_sync_logs (id, organization_id, sync_direction, entity_type, entity_id, sap_object_type, sap_object_key, operation,
                                  request_payload, started_at)
values (10 * :n + 2, 1, 'outbound', 'work_order', 10 * :n + 1, 'ProductionOrderConfirmation', lpad(':n', 12, '0'), 'confirm',
        '{"yield": 48}', timestamptz '2026-03-02 10:01+00' + :n * interval '1 minute');
update public.sap_sync_logs set status = 'failed', error_code = 'RU 505', error_message = 'Order is locked by another user'
where id = 10 * :n + 2 and started_at = timestamptz '2026-03-02 10:01+00' + :n * interval '1 minute';
update public.sap_sync_logs set status = 'retrying', attempt_number = 2
where id = 10 * :n + 2 and started_at = timestamptz '2026-03-02 10:01+00' + :n * interval '1 minute';
update public.sap_sync_logs set status = 'success', error_code = null, error_message = null
where id = 10 * :n + 2 and started_at = timestamptz '2026-03-02 10:01+00' + :n * interval '1 minute';

-- > SH-:n packed by the scanner; one label is unreadable
set local app.current_organization_id = '1';
insert into public.shipments (id, organization_id, plant_id, shipment_number, customer_name, delivery_address, carrier_name, total_packages,
                              planned_ship_date)
values (10 * :n + 1, 1, 1, 'SH-:n', 'Midway Trailers', '5700 S Cicero Ave', 'Lakeshore Freight', 1, '2026-03-12');
insert into public.qr_code_scans (id, organization_id, plant_id, scanned_by, scan_value, entity_type, entity_id, resolution_status,
                                  operation_type, location, device_id, latitude, longitude, scanned_at)
values (10 * :n + 1, 1, 1, 2, 'SN-:n-001', 'serial', 10 * :n + 1, 'resolved', 'shipping', 'Dock 2', 'SCAN-7', 41.78, -87.74,
        timestamptz '2026-03-02 11:00+00' + :n * interval '1 minute'),
       (10 * :n + 2, 1, 1, 2, 'SN-:n-0#1', null, null, 'not_found', 'shipping', 'Dock 2', 'SCAN-7', null, null,
        timestamptz '2026-03-02 11:01+00' + :n * interval '1 minute');
update public.shipments set status = 'packed' where id = 10 * :n + 1;

-- > SH-:n leaves Chicago
set local app.current_organization_id = '1';
update public.shipments set status = 'shipped', tracking_number = 'LF' || lpad(':n', 8, '0') where id = 10 * :n + 1;
update public.serial_numbers set status = 'shipped' where id = 10 * :n + 1;

-- > SH-:n arrives at the customer's
set local app.current_organization_id = '1';
update public.shipments set status = 'in_transit' where id = 10 * :n + 1;
update public.shipments set status = 'delivered' where id = 10 * :n + 1;

-- > SH-:n of Hamburg scanned at the gate
set local app.current_organization_id = '2';
insert into public.shipments (id, organization_id, plant_id, shipment_number, customer_name, carrier_name, total_packages,
                              planned_ship_date)
values (10 * :n + 6, 2, 2, 'SH-:n', 'Werft Elbe', 'Hansa Spedition', 1, '2026-04-20');
insert into public.qr_code_scans (id, organization_id, plant_id, scanned_by, scan_value, entity_type, entity_id, resolution_status,
                                  operation_type, location, device_id, scanned_at)
values (10 * :n + 6, 2, 2, 3, 'SH-:n', 'shipment', 10 * :n + 6, 'resolved', 'shipping', 'Tor 1', 'SCAN-1',
        timestamptz '2026-04-02 11:00+00' + :n * interval '1 minute');
update public.shipments set status = 'shipped', tracking_number = 'HS' || lpad(':n', 8, '0') where id = 10 * :n + 6;
insert into public.notifications (id, organization_id, user_id, notification_type, title, priority, entity_type, entity_id)
values (10 * :n + 6, 2, 3, 'shipment', 'SH-:n ist unterwegs', 'normal', 'shipment', 10 * :n + 6);

-- > The early shift hands over to the late one
set local app.current_organization_id = '1';
insert into public.shift_handovers (id, organization_id, plant_id, department_id, from_shift_id, to_shift_id, handover_date, wip_quantity,
                                    open_issues, notes, handed_over_by)
values (10 * :n + 1, 1, 1, 1, 1, 2, '2026-03-02', 12, 1, 'Keep an eye on the nozzle', 2);
update public.shift_handovers set status = 'acknowledged', acknowledged_by = 1 where id = 10 * :n + 1;

-- > Hamburg hands over as well
set local app.current_organization_id = '2';
insert into public.shift_handovers (id, organization_id, plant_id, department_id, from_shift_id, to_shift_id, handover_date, wip_quantity,
                                    handed_over_by)
values (10 * :n + 6, 2, 2, 3, 3, 4, '2026-04-02', 0, 3);

-- > WO-:n closed; WO-:n-B is cancelled and removed
set local app.current_organization_id = '1';
update public.work_orders set status = 'closed' where id = 10 * :n + 1;
insert into public.work_orders (id, organization_id, plant_id, department_id, material_id, work_order_number, quantity_planned, due_date)
values (10 * :n + 2, 1, 1, 2, 1, 'WO-:n-B', 5, '2026-03-27');
update public.work_orders set status = 'cancelled' where id = 10 * :n + 2;
delete from public.work_orders where id = 10 * :n + 2;

-- x Hamburg begins a work order and gives up
set local app.current_organization_id = '2';
insert into public.work_orders (id, organization_id, plant_id, department_id, material_id, work_order_number, quantity_planned)
values (10 * :n + 7, 2, 2, 3, 3, 'WO-:n-X', 1);
update public.work_orders set status = 'released' where id = 10 * :n + 7;
