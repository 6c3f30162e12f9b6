-- The simulated shift of the cnc-platform source: two users, each a tenant, send jobs through CAM, simulation and post-processing. Each cycle
-- (:n) touches only its own rows. Their keys are made from its number: those of user 1 start at :n * 100, those of user 2 at :n * 100 + 50.

-- plant
insert into users (id, email, phone, password_hash, role, company_name, tax_no) values
    (1, 'ayse@anadolu-kalip.example', '+905550000001', '$2b$12$notForAnyone1', 'engineer', 'Anadolu Kalıp', '1111111111'),
    (2, 'kemal@ege-havacilik.example', '+905550000002', '$2b$12$notForAnyone2', 'engineer', 'Ege Havacılık', '2222222222'),
    (3, 'admin@cnc.example', null, '$2b$12$notForAnyone3', 'admin', null, null);
insert into sessions (id, user_id, refresh_token_hash, ip_address, expires_at) values
    (1, 1, 'secret-refresh-1', '192.0.2.11', '2030-01-01'), (2, 2, 'secret-refresh-2', '192.0.2.12', '2030-01-01');
insert into projects (id, user_id, name) values (1, 1, 'Moulds'), (2, 2, 'Brackets');
insert into machines (id, name, manufacturer, model, type, axes, work_envelope_x_mm, work_envelope_y_mm, work_envelope_z_mm,
    spindle_max_rpm, post_processor) values
    (1, 'DMU 50', 'DMG MORI', 'DMU 50', 'mill', 5, 650, 520, 475, 20000, 'heidenhain_tnc640'),
    (2, 'VF-2', 'Haas', 'VF-2', 'mill', 3, 762, 406, 508, 8100, 'haas_ngc');
insert into setups (id, machine_id, name) values (1, 1, '5-axis vise'), (2, 2, 'Double vise');

-- > Anadolu: model Mould core :n is uploaded
insert into models (id, user_id, project_id, name, type, file_format, s3_key, file_size, sha256_hash) values ((:n * 100 + 1), 1, 1, 'Mould core :n', 'part', 'STEP', 'models/1/:n/1', 482133, repeat('a', 64));
insert into audit_logs (user_id, action, entity_type, entity_id, entity_data, ip_address, user_agent, session_id, created_at) values (1, 'model.create', 'model', (:n * 100 + 1), '{"name": "Mould core :n"}', '192.0.2.11', 'FreeCAD', 1, '2026-03-02 05:00:00');

-- > Ege: model Wing bracket :n is uploaded
insert into models (id, user_id, project_id, name, type, file_format, s3_key, file_size, sha256_hash) values ((:n * 100 + 51), 2, 2, 'Wing bracket :n', 'part', 'STEP', 'models/2/:n/1', 482133, repeat('a', 64));
insert into audit_logs (user_id, action, entity_type, entity_id, entity_data, ip_address, user_agent, session_id, created_at) values (2, 'model.create', 'model', (:n * 100 + 51), '{"name": "Wing bracket :n"}', '192.0.2.12', 'FreeCAD', 2, '2026-03-02 05:00:00');

-- > Anadolu: model :n is renamed, revised, the old one deleted
update models set name = 'Mould core :n A' where id = (:n * 100 + 1);
insert into models (id, user_id, project_id, name, type, file_format, s3_key, file_size, sha256_hash, version, parent_model_id) values ((:n * 100 + 2), 1, 1, 'Mould core :n B', 'part', 'STEP', 'models/1/:n/2', 491004, repeat('b', 64), 2, (:n * 100 + 1));
update models set is_deleted = true where id = (:n * 100 + 1);

-- > Ege: model :n is renamed, revised, the old one deleted
update models set name = 'Wing bracket :n A' where id = (:n * 100 + 51);
insert into models (id, user_id, project_id, name, type, file_format, s3_key, file_size, sha256_hash, version, parent_model_id) values ((:n * 100 + 52), 2, 2, 'Wing bracket :n B', 'part', 'STEP', 'models/2/:n/2', 491004, repeat('b', 64), 2, (:n * 100 + 51));
update models set is_deleted = true where id = (:n * 100 + 51);

-- > Anadolu: CAM job :n is created and queued
insert into jobs (id, idempotency_key, user_id, type, status, priority, input_params) values ((:n * 100 + 1), 'job-1-:n', 1, 'cam_process', 'pending', 5, '{"api_key": "not for anyone"}');
update jobs set status = 'queued', task_id = 'celery-1-:n' where id = (:n * 100 + 1);
update jobs set priority = 6 where id = (:n * 100 + 1);

-- > Ege: CAM job :n is created and queued
insert into jobs (id, idempotency_key, user_id, type, status, priority, input_params) values ((:n * 100 + 51), 'job-2-:n', 2, 'cam_process', 'pending', 5, '{"api_key": "not for anyone"}');
update jobs set status = 'queued', task_id = 'celery-2-:n' where id = (:n * 100 + 51);
update jobs set priority = 6 where id = (:n * 100 + 51);

-- > Anadolu: CAM job :n runs for DMU 50
update jobs set status = 'running', started_at = '2026-03-02 05:10:00' where id = (:n * 100 + 1);
insert into cam_runs (id, job_id, model_id, setup_id, strategy, cutting_params, status) values ((:n * 100 + 1), (:n * 100 + 1), (:n * 100 + 2), 1, 'adaptive_clearing', '{"rpm": 12000}', 'pending');

-- > Ege: CAM job :n runs for VF-2
update jobs set status = 'running', started_at = '2026-03-02 05:10:00' where id = (:n * 100 + 51);
insert into cam_runs (id, job_id, model_id, setup_id, strategy, cutting_params, status) values ((:n * 100 + 51), (:n * 100 + 51), (:n * 100 + 52), 2, 'adaptive_clearing', '{"rpm": 12000}', 'pending');

-- > Anadolu: CAM run :n starts for DMU 50
update cam_runs set status = 'running' where id = (:n * 100 + 1);
update jobs set progress = 35 where id = (:n * 100 + 1);

-- > Ege: CAM run :n starts for VF-2
update cam_runs set status = 'running' where id = (:n * 100 + 51);
update jobs set progress = 35 where id = (:n * 100 + 51);

-- x Anadolu: CAM job :n looks finished, and is rolled back
update cam_runs set status = 'completed', completed_at = '2026-03-02 05:20:00' where id = (:n * 100 + 1);
update jobs set status = 'completed', progress = 100 where id = (:n * 100 + 1);
insert into audit_logs (user_id, action, entity_type, entity_id, created_at) values (1, 'job.complete', 'job', (:n * 100 + 1), '2026-03-02 05:20:00');

-- x Ege: CAM job :n looks finished, and is rolled back
update cam_runs set status = 'completed', completed_at = '2026-03-02 05:20:00' where id = (:n * 100 + 51);
update jobs set status = 'completed', progress = 100 where id = (:n * 100 + 51);
insert into audit_logs (user_id, action, entity_type, entity_id, created_at) values (2, 'job.complete', 'job', (:n * 100 + 51), '2026-03-02 05:20:00');

-- > Anadolu: CAM run :n gets an estimate
update cam_runs set estimated_time_seconds = 1260 where id = (:n * 100 + 1);
update jobs set progress = 80, priority = 7 where id = (:n * 100 + 1);

-- > Ege: CAM run :n gets an estimate
update cam_runs set estimated_time_seconds = 1260 where id = (:n * 100 + 51);
update jobs set progress = 80, priority = 7 where id = (:n * 100 + 51);

-- > Anadolu: CAM run :n finished on DMU 50
update cam_runs set status = 'completed', estimated_time_seconds = 1284, material_removal_cc = 41.50, completed_at = '2026-03-02 05:25:00' where id = (:n * 100 + 1);
update jobs set status = 'completed', progress = 100, finished_at = '2026-03-02 05:25:00' where id = (:n * 100 + 1);
insert into artefacts (id, job_id, type, name, s3_key, file_size, mime_type, sha256, expires_at) values ((:n * 100 + 1), (:n * 100 + 1), 'gcode', 'Mould core :n.nc', 'gcode/1/:n', 20480, 'text/plain', repeat('c', 64), '2026-06-01'), ((:n * 100 + 2), (:n * 100 + 1), 'preview', 'Mould core :n.png', 'preview/1/:n', 8192, 'image/png', repeat('d', 64), '2026-03-03');

-- > Ege: CAM run :n finished on VF-2
update cam_runs set status = 'completed', estimated_time_seconds = 1284, material_removal_cc = 41.50, completed_at = '2026-03-02 05:25:00' where id = (:n * 100 + 51);
update jobs set status = 'completed', progress = 100, finished_at = '2026-03-02 05:25:00' where id = (:n * 100 + 51);
insert into artefacts (id, job_id, type, name, s3_key, file_size, mime_type, sha256, expires_at) values ((:n * 100 + 51), (:n * 100 + 51), 'gcode', 'Wing bracket :n.nc', 'gcode/2/:n', 20480, 'text/plain', repeat('c', 64), '2026-06-01'), ((:n * 100 + 52), (:n * 100 + 51), 'preview', 'Wing bracket :n.png', 'preview/2/:n', 8192, 'image/png', repeat('d', 64), '2026-03-03');

-- > Anadolu: simulation :n on DMU 50 finds a collision
insert into jobs (id, idempotency_key, user_id, type, status, input_params) values ((:n * 100 + 2), 'sim-1-:n', 1, 'sim_run', 'queued', '{}');
insert into sim_runs (id, job_id, cam_run_id, type, machine_id, status) values ((:n * 100 + 1), (:n * 100 + 2), (:n * 100 + 1), 'collision', 1, 'running');
update jobs set status = 'running', started_at = '2026-03-02 05:30:00' where id = (:n * 100 + 2);
update sim_runs set collision_count = 2, collision_details = '[{"line": 118}, {"line": 240}]' where id = (:n * 100 + 1);

-- > Ege: simulation :n on VF-2 finds a collision
insert into jobs (id, idempotency_key, user_id, type, status, input_params) values ((:n * 100 + 52), 'sim-2-:n', 2, 'sim_run', 'queued', '{}');
insert into sim_runs (id, job_id, cam_run_id, type, machine_id, status) values ((:n * 100 + 51), (:n * 100 + 52), (:n * 100 + 51), 'collision', 2, 'running');
update jobs set status = 'running', started_at = '2026-03-02 05:30:00' where id = (:n * 100 + 52);
update sim_runs set collision_count = 2, collision_details = '[{"line": 118}, {"line": 240}]' where id = (:n * 100 + 51);

-- > Anadolu: simulation :n failed, its job with it
update sim_runs set status = 'failed', simulation_time_ms = 8150, completed_at = '2026-03-02 05:31:00' where id = (:n * 100 + 1);
update jobs set status = 'failed', error_code = 'COLLISION', error_message = '2 collisions', finished_at = '2026-03-02 05:31:00' where id = (:n * 100 + 2);
insert into notifications (id, user_id, type, severity, title, message, data, action_url) values ((:n * 100 + 1), 1, 'simulation_failed', 'error', 'Collision on DMU 50', 'Code 123456', '{"token": "secret"}', 'https://cnc.example/?token=secret');

-- > Ege: simulation :n failed, its job with it
update sim_runs set status = 'failed', simulation_time_ms = 8150, completed_at = '2026-03-02 05:31:00' where id = (:n * 100 + 51);
update jobs set status = 'failed', error_code = 'COLLISION', error_message = '2 collisions', finished_at = '2026-03-02 05:31:00' where id = (:n * 100 + 52);
insert into notifications (id, user_id, type, severity, title, message, data, action_url) values ((:n * 100 + 51), 2, 'simulation_failed', 'error', 'Collision on VF-2', 'Code 123456', '{"token": "secret"}', 'https://cnc.example/?token=secret');

-- > Anadolu: simulation :n is tried again and passes
update jobs set status = 'running', retry_count = 1, error_code = null, error_message = null, finished_at = null where id = (:n * 100 + 2);
insert into sim_runs (id, job_id, cam_run_id, type, machine_id, status) values ((:n * 100 + 2), (:n * 100 + 2), (:n * 100 + 1), 'collision', 1, 'running');
update sim_runs set status = 'verifying' where id = (:n * 100 + 2);
update sim_runs set status = 'passed', material_removal_accuracy = 99.20, simulation_time_ms = 7980, completed_at = '2026-03-02 05:40:00' where id = (:n * 100 + 2);
update jobs set status = 'completed', progress = 100, finished_at = '2026-03-02 05:40:00' where id = (:n * 100 + 2);
update notifications set is_read = true, read_at = '2026-03-02 05:41:00' where id = (:n * 100 + 1);

-- > Ege: simulation :n is tried again and passes
update jobs set status = 'running', retry_count = 1, error_code = null, error_message = null, finished_at = null where id = (:n * 100 + 52);
insert into sim_runs (id, job_id, cam_run_id, type, machine_id, status) values ((:n * 100 + 52), (:n * 100 + 52), (:n * 100 + 51), 'collision', 2, 'running');
update sim_runs set status = 'verifying' where id = (:n * 100 + 52);
update sim_runs set status = 'passed', material_removal_accuracy = 99.20, simulation_time_ms = 7980, completed_at = '2026-03-02 05:40:00' where id = (:n * 100 + 52);
update jobs set status = 'completed', progress = 100, finished_at = '2026-03-02 05:40:00' where id = (:n * 100 + 52);
update notifications set is_read = true, read_at = '2026-03-02 05:41:00' where id = (:n * 100 + 51);

-- > Anadolu: a material simulation on DMU 50 warns
insert into sim_runs (id, job_id, cam_run_id, type, machine_id, status, material_removal_accuracy, simulation_time_ms, completed_at) values ((:n * 100 + 3), (:n * 100 + 2), (:n * 100 + 1), 'material_removal', 1, 'warnings', 96.40, 5120, '2026-03-02 05:45:00');

-- > Ege: a material simulation on VF-2 warns
insert into sim_runs (id, job_id, cam_run_id, type, machine_id, status, material_removal_accuracy, simulation_time_ms, completed_at) values ((:n * 100 + 53), (:n * 100 + 52), (:n * 100 + 51), 'material_removal', 2, 'warnings', 96.40, 5120, '2026-03-02 05:45:00');

-- > Anadolu: a CAM run fails, its job is cancelled and removed
insert into jobs (id, user_id, type, status, input_params) values ((:n * 100 + 3), 1, 'cam_process', 'running', '{}'), ((:n * 100 + 4), 1, 'gcode_post', 'pending', '{}');
insert into cam_runs (id, job_id, model_id, setup_id, strategy, cutting_params, status, error_details, completed_at) values ((:n * 100 + 2), (:n * 100 + 3), (:n * 100 + 2), 1, 'finishing', '{}', 'failed', 'tool too long', '2026-03-02 05:50:00');
update jobs set status = 'cancelled' where id = (:n * 100 + 3);
delete from jobs where id = (:n * 100 + 4);
delete from artefacts where id = (:n * 100 + 2);

-- > Ege: a CAM run fails, its job is cancelled and removed
insert into jobs (id, user_id, type, status, input_params) values ((:n * 100 + 53), 2, 'cam_process', 'running', '{}'), ((:n * 100 + 54), 2, 'gcode_post', 'pending', '{}');
insert into cam_runs (id, job_id, model_id, setup_id, strategy, cutting_params, status, error_details, completed_at) values ((:n * 100 + 52), (:n * 100 + 53), (:n * 100 + 52), 2, 'finishing', '{}', 'failed', 'tool too long', '2026-03-02 05:50:00');
update jobs set status = 'cancelled' where id = (:n * 100 + 53);
delete from jobs where id = (:n * 100 + 54);
delete from artefacts where id = (:n * 100 + 52);

-- > Anadolu: Ball mill 6 mm falls below its minimum and is restocked
insert into tools (id, name, type, part_number, diameter_mm, quantity_available, minimum_stock, location) values ((:n * 100 + 1), 'Ball mill 6 mm', 'end_mill', 'AK-T-:n', 6, 6, 4, 'Cabinet 1');
update tools set quantity_available = 5 where id = (:n * 100 + 1);
update tools set quantity_available = 3 where id = (:n * 100 + 1);
update tools set quantity_available = 12 where id = (:n * 100 + 1);

-- > Ege: End mill 10 mm falls below its minimum and is restocked
insert into tools (id, name, type, part_number, diameter_mm, quantity_available, minimum_stock, location) values ((:n * 100 + 51), 'End mill 10 mm', 'end_mill', 'EH-T-:n', 6, 6, 4, 'Cabinet 2');
update tools set quantity_available = 5 where id = (:n * 100 + 51);
update tools set quantity_available = 3 where id = (:n * 100 + 51);
update tools set quantity_available = 12 where id = (:n * 100 + 51);

-- > Anadolu: job :n goes to SAP
insert into erp_mes_sync (id, external_system, entity_type, entity_id, external_id, sync_direction, sync_status, sync_data) values ((:n * 100 + 1), 'SAP', 'job', (:n * 100 + 1), 'AK-4500:n', 'outbound', 'pending', '{}');
update erp_mes_sync set sync_status = 'failed', error_message = 'material unknown' where id = (:n * 100 + 1);

-- > Ege: job :n goes to SAP
insert into erp_mes_sync (id, external_system, entity_type, entity_id, external_id, sync_direction, sync_status, sync_data) values ((:n * 100 + 51), 'SAP', 'job', (:n * 100 + 51), 'EH-4500:n', 'outbound', 'pending', '{}');
update erp_mes_sync set sync_status = 'failed', error_message = 'material unknown' where id = (:n * 100 + 51);

-- > Anadolu: job :n goes to SAP again
update erp_mes_sync set sync_status = 'pending', retry_count = 1, error_message = null where id = (:n * 100 + 1);
update erp_mes_sync set sync_status = 'synced', synced_at = '2026-03-02 06:00:00' where id = (:n * 100 + 1);

-- > Ege: job :n goes to SAP again
update erp_mes_sync set sync_status = 'pending', retry_count = 1, error_message = null where id = (:n * 100 + 51);
update erp_mes_sync set sync_status = 'synced', synced_at = '2026-03-02 06:00:00' where id = (:n * 100 + 51);

-- > Anadolu: a login fails three times, and is looked into
insert into security_events (id, event_type, severity, user_id, ip_address, details) values ((:n * 100 + 1), 'login_failed', 'high', 1, '198.51.100.7', '{"password": "hunter2"}');
update security_events set resolved = true, resolved_at = '2026-03-02 06:10:00', resolved_by = 3 where id = (:n * 100 + 1);

-- > Ege: a login fails three times, and is looked into
insert into security_events (id, event_type, severity, user_id, ip_address, details) values ((:n * 100 + 51), 'login_failed', 'high', 2, '198.51.100.7', '{"password": "hunter2"}');
update security_events set resolved = true, resolved_at = '2026-03-02 06:10:00', resolved_by = 3 where id = (:n * 100 + 51);

-- > Anadolu: invoice :n is written, changed, sent and overdue
insert into invoices (id, user_id, invoice_number, type, status, currency, subtotal, tax_amount, total, line_items, due_date, payment_method) values ((:n * 100 + 1), 1, 'AK-:n', 'usage', 'draft', 'TRY', 1000, 200, 1200, '[]', '2026-03-31', 'card-4242'), ((:n * 100 + 2), 1, 'AK-:n-B', 'usage', 'draft', 'TRY', 10, 2, 12, '[]', '2026-03-31', null);
update invoices set subtotal = 1100, tax_amount = 220, total = 1320 where id = (:n * 100 + 1);
update invoices set status = 'sent' where id = (:n * 100 + 1);
update invoices set status = 'overdue' where id = (:n * 100 + 1);
update invoices set status = 'cancelled' where id = (:n * 100 + 2);

-- > Ege: invoice :n is written, changed, sent and overdue
insert into invoices (id, user_id, invoice_number, type, status, currency, subtotal, tax_amount, total, line_items, due_date, payment_method) values ((:n * 100 + 51), 2, 'EH-:n', 'usage', 'draft', 'TRY', 1000, 200, 1200, '[]', '2026-03-31', 'card-4242'), ((:n * 100 + 52), 2, 'EH-:n-B', 'usage', 'draft', 'TRY', 10, 2, 12, '[]', '2026-03-31', null);
update invoices set subtotal = 1100, tax_amount = 220, total = 1320 where id = (:n * 100 + 51);
update invoices set status = 'sent' where id = (:n * 100 + 51);
update invoices set status = 'overdue' where id = (:n * 100 + 51);
update invoices set status = 'cancelled' where id = (:n * 100 + 52);

-- > Anadolu: invoice :n is paid at the second try
insert into payments (id, invoice_id, user_id, provider, provider_ref, method, currency, amount, status) values ((:n * 100 + 1), (:n * 100 + 1), 1, 'iyzico', 'ref-secret-1-:n-1', 'card', 'TRY', 1320, 'pending'), ((:n * 100 + 2), (:n * 100 + 1), 1, 'iyzico', 'ref-secret-1-:n-2', 'card', 'TRY', 1320, 'pending');
update payments set status = 'failed', processed_at = '2026-04-02 07:00:00' where id = (:n * 100 + 1);
update payments set status = 'completed', fee = 26.40, processed_at = '2026-04-02 07:05:00' where id = (:n * 100 + 2);
update invoices set status = 'paid', paid_at = '2026-04-02 07:05:00' where id = (:n * 100 + 1);
insert into audit_logs (user_id, action, entity_type, entity_id, changes, ip_address, session_id, created_at) values (1, 'invoice.paid', 'invoice', (:n * 100 + 1), '{"status": ["overdue", "paid"]}', '192.0.2.11', 1, '2026-04-02 07:05:00');

-- > Ege: invoice :n is paid at the second try
insert into payments (id, invoice_id, user_id, provider, provider_ref, method, currency, amount, status) values ((:n * 100 + 51), (:n * 100 + 51), 2, 'iyzico', 'ref-secret-2-:n-1', 'card', 'TRY', 1320, 'pending'), ((:n * 100 + 52), (:n * 100 + 51), 2, 'iyzico', 'ref-secret-2-:n-2', 'card', 'TRY', 1320, 'pending');
update payments set status = 'failed', processed_at = '2026-04-02 07:00:00' where id = (:n * 100 + 51);
update payments set status = 'completed', fee = 26.40, processed_at = '2026-04-02 07:05:00' where id = (:n * 100 + 52);
update invoices set status = 'paid', paid_at = '2026-04-02 07:05:00' where id = (:n * 100 + 51);
insert into audit_logs (user_id, action, entity_type, entity_id, changes, ip_address, session_id, created_at) values (2, 'invoice.paid', 'invoice', (:n * 100 + 51), '{"status": ["overdue", "paid"]}', '192.0.2.12', 2, '2026-04-02 07:05:00');

-- > Anadolu: payment :n is given back in part
update payments set refund_amount = 120, refund_reason = 'discount' where id = (:n * 100 + 2);

-- > Ege: payment :n is given back in part
update payments set refund_amount = 120, refund_reason = 'discount' where id = (:n * 100 + 52);
