-- The simulated shift of the productions source: two organizations, each with a workspace, prepare and run a production. Each cycle (:n)
-- touches only its own rows, whose keys are made from its number.

-- plant

insert into organizations (id, name, slug, plan, status, stripe_customer_id) values ('0a000000-0000-4000-8000-000000000001', 'Northlight Stage Works', 'northlight', 'business', 'active', 'cus_secret_northlight');
insert into workspaces (id, organization_id, name, slug) values ('0a000000-0000-4000-8000-000000000002', '0a000000-0000-4000-8000-000000000001', 'Stockholm', 'stockholm');
insert into organization_members (id, organization_id, user_id, role) values ('0a000000-0000-4000-8000-000000000006', '0a000000-0000-4000-8000-000000000001', '0a000000-0000-4000-8000-000000000006', 'owner'), ('0a000000-0000-4000-8000-000000000007', '0a000000-0000-4000-8000-000000000001', '0a000000-0000-4000-8000-000000000007', 'member');
insert into locations (id, workspace_id, name) values ('0a000000-0000-4000-8000-000000000003', '0a000000-0000-4000-8000-000000000002', 'Hall 3');
insert into assets (id, workspace_id, name, asset_tag, location_id) values ('0a000000-0000-4000-8000-000000000004', '0a000000-0000-4000-8000-000000000002', 'Chain hoist 1 t', 'NL-HOIST-07', '0a000000-0000-4000-8000-000000000003');
insert into companies (id, workspace_id, name) values ('0a000000-0000-4000-8000-000000000005', '0a000000-0000-4000-8000-000000000002', 'Rigging Supply AB');

insert into organizations (id, name, slug, plan, status, stripe_customer_id) values ('0b000000-0000-4000-8000-000000000001', 'Harbour Events', 'harbour', 'business', 'active', 'cus_secret_harbour');
insert into workspaces (id, organization_id, name, slug) values ('0b000000-0000-4000-8000-000000000002', '0b000000-0000-4000-8000-000000000001', 'Rotterdam', 'rotterdam');
insert into organization_members (id, organization_id, user_id, role) values ('0b000000-0000-4000-8000-000000000006', '0b000000-0000-4000-8000-000000000001', '0b000000-0000-4000-8000-000000000006', 'owner'), ('0b000000-0000-4000-8000-000000000007', '0b000000-0000-4000-8000-000000000001', '0b000000-0000-4000-8000-000000000007', 'member');
insert into locations (id, workspace_id, name) values ('0b000000-0000-4000-8000-000000000003', '0b000000-0000-4000-8000-000000000002', 'Quay Arena');
insert into assets (id, workspace_id, name, asset_tag, location_id) values ('0b000000-0000-4000-8000-000000000004', '0b000000-0000-4000-8000-000000000002', 'Digital console 96', 'HB-FOH-02', '0b000000-0000-4000-8000-000000000003');
insert into companies (id, workspace_id, name) values ('0b000000-0000-4000-8000-000000000005', '0b000000-0000-4000-8000-000000000002', 'Maas Audio BV');

-- > Stockholm: production Winter Tour :n is planned
insert into productions (id, workspace_id, name, status, start_date, end_date, budget, created_by) values (('11111111-a000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, '0a000000-0000-4000-8000-000000000002', 'Winter Tour :n', 'planning', '2026-03-02', '2026-03-20', 48000, '0a000000-0000-4000-8000-000000000006');
insert into audit_logs (id, workspace_id, user_id, action, entity_type, entity_id, changes, ip_address) values (('ffffffff-a000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, '0a000000-0000-4000-8000-000000000002', '0a000000-0000-4000-8000-000000000006', 'create', 'production', ('11111111-a000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, '{"status": ["", "planning"], "budget": [0, 48000]}', '192.0.2.10');
insert into activities (id, workspace_id, user_id, action, entity_type, entity_id, metadata) values (('dddddddd-a000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, '0a000000-0000-4000-8000-000000000002', '0a000000-0000-4000-8000-000000000006', 'created', 'production', ('11111111-a000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, '{"token": "not for anyone"}');

-- > Rotterdam: production Harbour Days :n is planned
insert into productions (id, workspace_id, name, status, start_date, end_date, budget, created_by) values (('11111111-b000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, '0b000000-0000-4000-8000-000000000002', 'Harbour Days :n', 'planning', '2026-03-02', '2026-03-20', 48000, '0b000000-0000-4000-8000-000000000006');
insert into audit_logs (id, workspace_id, user_id, action, entity_type, entity_id, changes, ip_address) values (('ffffffff-b000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, '0b000000-0000-4000-8000-000000000002', '0b000000-0000-4000-8000-000000000006', 'create', 'production', ('11111111-b000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, '{"status": ["", "planning"], "budget": [0, 48000]}', '192.0.2.10');
insert into activities (id, workspace_id, user_id, action, entity_type, entity_id, metadata) values (('dddddddd-b000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, '0b000000-0000-4000-8000-000000000002', '0b000000-0000-4000-8000-000000000006', 'created', 'production', ('11111111-b000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, '{"token": "not for anyone"}');

-- > Stockholm: tasks and milestones of production :n
insert into project_tasks (id, workspace_id, production_id, title, priority, due_date) values (('22222222-a000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, '0a000000-0000-4000-8000-000000000002', ('11111111-a000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, 'Rig the main truss', 'high', '2026-03-04'), (('22222222-a001-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, '0a000000-0000-4000-8000-000000000002', ('11111111-a000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, 'Book the hotel', 'low', '2026-03-03');
insert into project_milestones (id, workspace_id, production_id, name, due_date) values (('33333333-a000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, '0a000000-0000-4000-8000-000000000002', ('11111111-a000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, 'Load-in complete', '2026-03-05'), (('33333333-a002-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, '0a000000-0000-4000-8000-000000000002', ('11111111-a000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, 'Press night', '2026-03-06');

-- > Rotterdam: tasks and milestones of production :n
insert into project_tasks (id, workspace_id, production_id, title, priority, due_date) values (('22222222-b000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, '0b000000-0000-4000-8000-000000000002', ('11111111-b000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, 'Rig the main truss', 'high', '2026-03-04'), (('22222222-b001-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, '0b000000-0000-4000-8000-000000000002', ('11111111-b000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, 'Book the hotel', 'low', '2026-03-03');
insert into project_milestones (id, workspace_id, production_id, name, due_date) values (('33333333-b000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, '0b000000-0000-4000-8000-000000000002', ('11111111-b000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, 'Load-in complete', '2026-03-05'), (('33333333-b002-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, '0b000000-0000-4000-8000-000000000002', ('11111111-b000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, 'Press night', '2026-03-06');

-- > Stockholm: the budget of production :n grows
update productions set budget = 52000 where id = ('11111111-a000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid;

-- > Rotterdam: the budget of production :n grows
update productions set budget = 52000 where id = ('11111111-b000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid;

-- > Stockholm: production :n starts
update productions set status = 'active' where id = ('11111111-a000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid;

-- > Rotterdam: production :n starts
update productions set status = 'active' where id = ('11111111-b000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid;

-- > Stockholm: someone is told of the task
insert into notifications (id, user_id, type, title, message, entity_type, entity_id, action_url) values (('eeeeeeee-a000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, '0a000000-0000-4000-8000-000000000007', 'task_assigned', 'A task is yours', 'Code 123456', 'project_task', ('22222222-a000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, 'https://app.example/t?token=secret');
update project_tasks set assignee_id = '0a000000-0000-4000-8000-000000000007' where id = ('22222222-a000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid;

-- > Rotterdam: someone is told of the task
insert into notifications (id, user_id, type, title, message, entity_type, entity_id, action_url) values (('eeeeeeee-b000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, '0b000000-0000-4000-8000-000000000007', 'task_assigned', 'A task is yours', 'Code 123456', 'project_task', ('22222222-b000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, 'https://app.example/t?token=secret');
update project_tasks set assignee_id = '0b000000-0000-4000-8000-000000000007' where id = ('22222222-b000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid;

-- > Stockholm: the notification is read
update notifications set read = true where id = ('eeeeeeee-a000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid;

-- > Rotterdam: the notification is read
update notifications set read = true where id = ('eeeeeeee-b000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid;

-- > Stockholm: task :n is started
update project_tasks set status = 'in_progress' where id = ('22222222-a000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid;

-- > Rotterdam: task :n is started
update project_tasks set status = 'in_progress' where id = ('22222222-b000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid;

-- > Stockholm: task :n is half done
update project_tasks set progress = 50 where id = ('22222222-a000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid;
insert into activities (id, workspace_id, user_id, action, entity_type, entity_id) values (('dddddddd-a002-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, '0a000000-0000-4000-8000-000000000002', '0a000000-0000-4000-8000-000000000007', 'task.Commented On', 'project_task', ('22222222-a000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid);

-- > Rotterdam: task :n is half done
update project_tasks set progress = 50 where id = ('22222222-b000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid;
insert into activities (id, workspace_id, user_id, action, entity_type, entity_id) values (('dddddddd-b002-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, '0b000000-0000-4000-8000-000000000002', '0b000000-0000-4000-8000-000000000007', 'task.Commented On', 'project_task', ('22222222-b000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid);

-- x Stockholm: someone marks task :n done and thinks again (rolled back)
update project_tasks set status = 'done', progress = 100 where id = ('22222222-a000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid;
update productions set status = 'archived' where id = ('11111111-a000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid;

-- x Rotterdam: someone marks task :n done and thinks again (rolled back)
update project_tasks set status = 'done', progress = 100 where id = ('22222222-b000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid;
update productions set status = 'archived' where id = ('11111111-b000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid;

-- > Stockholm: task :n is done
update project_tasks set status = 'done', progress = 100, completed_at = '2026-03-04 14:00+00' where id = ('22222222-a000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid;

-- > Rotterdam: task :n is done
update project_tasks set status = 'done', progress = 100, completed_at = '2026-03-04 14:00+00' where id = ('22222222-b000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid;

-- > Stockholm: task :n was not done after all
update project_tasks set status = 'in_progress', completed_at = null where id = ('22222222-a000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid;

-- > Rotterdam: task :n was not done after all
update project_tasks set status = 'in_progress', completed_at = null where id = ('22222222-b000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid;

-- > Stockholm: bookings for production :n
insert into events (id, workspace_id, production_id, location_id, name, status, start_time, end_time) values (('44444444-a000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, '0a000000-0000-4000-8000-000000000002', ('11111111-a000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, '0a000000-0000-4000-8000-000000000003', 'Opening night :n', 'published', '2026-03-06 19:00+00', '2026-03-06 22:00+00');
insert into bookings (id, workspace_id, event_id, location_id, asset_id, start_time, end_time) values (('55555555-a000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, '0a000000-0000-4000-8000-000000000002', ('44444444-a000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, '0a000000-0000-4000-8000-000000000003', '0a000000-0000-4000-8000-000000000004', '2026-03-06 12:00+00', '2026-03-06 23:00+00'), (('55555555-a002-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, '0a000000-0000-4000-8000-000000000002', ('44444444-a000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, '0a000000-0000-4000-8000-000000000003', '0a000000-0000-4000-8000-000000000004', '2026-03-07 12:00+00', '2026-03-07 23:00+00'), (('55555555-a003-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, '0a000000-0000-4000-8000-000000000002', ('44444444-a000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, '0a000000-0000-4000-8000-000000000003', '0a000000-0000-4000-8000-000000000004', '2026-03-08 12:00+00', '2026-03-08 23:00+00');

-- > Rotterdam: bookings for production :n
insert into events (id, workspace_id, production_id, location_id, name, status, start_time, end_time) values (('44444444-b000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, '0b000000-0000-4000-8000-000000000002', ('11111111-b000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, '0b000000-0000-4000-8000-000000000003', 'Opening night :n', 'published', '2026-03-06 19:00+00', '2026-03-06 22:00+00');
insert into bookings (id, workspace_id, event_id, location_id, asset_id, start_time, end_time) values (('55555555-b000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, '0b000000-0000-4000-8000-000000000002', ('44444444-b000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, '0b000000-0000-4000-8000-000000000003', '0b000000-0000-4000-8000-000000000004', '2026-03-06 12:00+00', '2026-03-06 23:00+00'), (('55555555-b002-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, '0b000000-0000-4000-8000-000000000002', ('44444444-b000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, '0b000000-0000-4000-8000-000000000003', '0b000000-0000-4000-8000-000000000004', '2026-03-07 12:00+00', '2026-03-07 23:00+00'), (('55555555-b003-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, '0b000000-0000-4000-8000-000000000002', ('44444444-b000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, '0b000000-0000-4000-8000-000000000003', '0b000000-0000-4000-8000-000000000004', '2026-03-08 12:00+00', '2026-03-08 23:00+00');

-- > Stockholm: a booking is moved, approved; others denied, cancelled
update bookings set start_time = '2026-03-06 10:00+00' where id = ('55555555-a000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid;
update bookings set status = 'approved' where id = ('55555555-a000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid;
update bookings set status = 'denied' where id = ('55555555-a002-4000-8000-' || lpad(:n::text, 12, '0'))::uuid;
update bookings set status = 'cancelled' where id = ('55555555-a003-4000-8000-' || lpad(:n::text, 12, '0'))::uuid;

-- > Rotterdam: a booking is moved, approved; others denied, cancelled
update bookings set start_time = '2026-03-06 10:00+00' where id = ('55555555-b000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid;
update bookings set status = 'approved' where id = ('55555555-b000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid;
update bookings set status = 'denied' where id = ('55555555-b002-4000-8000-' || lpad(:n::text, 12, '0'))::uuid;
update bookings set status = 'cancelled' where id = ('55555555-b003-4000-8000-' || lpad(:n::text, 12, '0'))::uuid;

-- > Stockholm: the cancelled booking is removed
delete from bookings where id = ('55555555-a003-4000-8000-' || lpad(:n::text, 12, '0'))::uuid;

-- > Rotterdam: the cancelled booking is removed
delete from bookings where id = ('55555555-b003-4000-8000-' || lpad(:n::text, 12, '0'))::uuid;

-- > Stockholm: Chain hoist 1 t goes out
insert into asset_transactions (id, workspace_id, asset_id, production_id, transaction_type, user_id, due_back_at) values (('77777777-a000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, '0a000000-0000-4000-8000-000000000002', '0a000000-0000-4000-8000-000000000004', ('11111111-a000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, 'check_out', '0a000000-0000-4000-8000-000000000007', '2026-03-21 08:00+00');

-- > Rotterdam: Digital console 96 goes out
insert into asset_transactions (id, workspace_id, asset_id, production_id, transaction_type, user_id, due_back_at) values (('77777777-b000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, '0b000000-0000-4000-8000-000000000002', '0b000000-0000-4000-8000-000000000004', ('11111111-b000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, 'check_out', '0b000000-0000-4000-8000-000000000007', '2026-03-21 08:00+00');

-- > Stockholm: an incident in Hall 3
insert into incidents (id, workspace_id, production_id, event_id, location_id, title, severity, incident_time) values (('66666666-a000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, '0a000000-0000-4000-8000-000000000002', ('11111111-a000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, ('44444444-a000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, '0a000000-0000-4000-8000-000000000003', 'Hoist stopped under load', 'high', '2026-03-06 11:20+00'), (('66666666-a002-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, '0a000000-0000-4000-8000-000000000002', ('11111111-a000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, ('44444444-a000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, '0a000000-0000-4000-8000-000000000003', 'Reported twice', 'low', '2026-03-06 11:25+00');

-- > Rotterdam: an incident in Quay Arena
insert into incidents (id, workspace_id, production_id, event_id, location_id, title, severity, incident_time) values (('66666666-b000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, '0b000000-0000-4000-8000-000000000002', ('11111111-b000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, ('44444444-b000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, '0b000000-0000-4000-8000-000000000003', 'Hoist stopped under load', 'high', '2026-03-06 11:20+00'), (('66666666-b002-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, '0b000000-0000-4000-8000-000000000002', ('11111111-b000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, ('44444444-b000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, '0b000000-0000-4000-8000-000000000003', 'Reported twice', 'low', '2026-03-06 11:25+00');

-- > Stockholm: the incident is looked into and resolved
update incidents set status = 'investigating' where id = ('66666666-a000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid;
update incidents set status = 'resolved', resolved_at = '2026-03-06 12:05+00' where id = ('66666666-a000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid;
delete from incidents where id = ('66666666-a002-4000-8000-' || lpad(:n::text, 12, '0'))::uuid;

-- > Rotterdam: the incident is looked into and resolved
update incidents set status = 'investigating' where id = ('66666666-b000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid;
update incidents set status = 'resolved', resolved_at = '2026-03-06 12:05+00' where id = ('66666666-b000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid;
delete from incidents where id = ('66666666-b002-4000-8000-' || lpad(:n::text, 12, '0'))::uuid;

-- > Stockholm: Chain hoist 1 t comes back, another place has it
insert into asset_transactions (id, workspace_id, asset_id, production_id, transaction_type, user_id) values (('77777777-a002-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, '0a000000-0000-4000-8000-000000000002', '0a000000-0000-4000-8000-000000000004', ('11111111-a000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, 'check_in', '0a000000-0000-4000-8000-000000000007');
insert into asset_transactions (id, workspace_id, asset_id, transaction_type) values (('77777777-a003-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, '0a000000-0000-4000-8000-000000000002', '0a000000-0000-4000-8000-000000000004', 'transfer');

-- > Rotterdam: Digital console 96 comes back, another place has it
insert into asset_transactions (id, workspace_id, asset_id, production_id, transaction_type, user_id) values (('77777777-b002-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, '0b000000-0000-4000-8000-000000000002', '0b000000-0000-4000-8000-000000000004', ('11111111-b000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, 'check_in', '0b000000-0000-4000-8000-000000000007');
insert into asset_transactions (id, workspace_id, asset_id, transaction_type) values (('77777777-b003-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, '0b000000-0000-4000-8000-000000000002', '0b000000-0000-4000-8000-000000000004', 'transfer');

-- > Stockholm: maintenance of Chain hoist 1 t
insert into asset_maintenance (id, workspace_id, asset_id, maintenance_type, scheduled_date) values (('88888888-a000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, '0a000000-0000-4000-8000-000000000002', '0a000000-0000-4000-8000-000000000004', 'repair', '2026-03-09'), (('88888888-a002-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, '0a000000-0000-4000-8000-000000000002', '0a000000-0000-4000-8000-000000000004', 'inspection', '2026-03-10');
update asset_maintenance set scheduled_date = '2026-03-08' where id = ('88888888-a000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid;
update asset_maintenance set status = 'in_progress' where id = ('88888888-a000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid;
update asset_maintenance set status = 'completed', completed_at = '2026-03-08 15:00+00', cost = 420 where id = ('88888888-a000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid;
delete from asset_maintenance where id = ('88888888-a002-4000-8000-' || lpad(:n::text, 12, '0'))::uuid;

-- > Rotterdam: maintenance of Digital console 96
insert into asset_maintenance (id, workspace_id, asset_id, maintenance_type, scheduled_date) values (('88888888-b000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, '0b000000-0000-4000-8000-000000000002', '0b000000-0000-4000-8000-000000000004', 'repair', '2026-03-09'), (('88888888-b002-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, '0b000000-0000-4000-8000-000000000002', '0b000000-0000-4000-8000-000000000004', 'inspection', '2026-03-10');
update asset_maintenance set scheduled_date = '2026-03-08' where id = ('88888888-b000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid;
update asset_maintenance set status = 'in_progress' where id = ('88888888-b000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid;
update asset_maintenance set status = 'completed', completed_at = '2026-03-08 15:00+00', cost = 420 where id = ('88888888-b000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid;
delete from asset_maintenance where id = ('88888888-b002-4000-8000-' || lpad(:n::text, 12, '0'))::uuid;

-- > Stockholm: purchase order :n
insert into purchase_orders (id, workspace_id, production_id, company_id, po_number, total_amount) values (('cccccccc-a000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, '0a000000-0000-4000-8000-000000000002', ('11111111-a000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, '0a000000-0000-4000-8000-000000000005', 'NL-PO-:n', 1250), (('cccccccc-a002-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, '0a000000-0000-4000-8000-000000000002', ('11111111-a000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, '0a000000-0000-4000-8000-000000000005', 'NL-PO-:n-B', 90);
insert into approval_requests (id, workspace_id, entity_type, entity_id, amount, currency, requested_by) values (('99999999-a000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, '0a000000-0000-4000-8000-000000000002', 'purchase_order', ('cccccccc-a000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, 1250, 'EUR', '0a000000-0000-4000-8000-000000000007'), (('99999999-a002-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, '0a000000-0000-4000-8000-000000000002', 'purchase_order', ('cccccccc-a002-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, 90, 'EUR', '0a000000-0000-4000-8000-000000000007');
update purchase_orders set total_amount = 1310 where id = ('cccccccc-a000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid;
update approval_requests set amount = 1310, approver_id = '0a000000-0000-4000-8000-000000000006' where id = ('99999999-a000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid;
update purchase_orders set status = 'submitted' where id = ('cccccccc-a000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid;

-- > Rotterdam: purchase order :n
insert into purchase_orders (id, workspace_id, production_id, company_id, po_number, total_amount) values (('cccccccc-b000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, '0b000000-0000-4000-8000-000000000002', ('11111111-b000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, '0b000000-0000-4000-8000-000000000005', 'HB-PO-:n', 1250), (('cccccccc-b002-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, '0b000000-0000-4000-8000-000000000002', ('11111111-b000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, '0b000000-0000-4000-8000-000000000005', 'HB-PO-:n-B', 90);
insert into approval_requests (id, workspace_id, entity_type, entity_id, amount, currency, requested_by) values (('99999999-b000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, '0b000000-0000-4000-8000-000000000002', 'purchase_order', ('cccccccc-b000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, 1250, 'EUR', '0b000000-0000-4000-8000-000000000007'), (('99999999-b002-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, '0b000000-0000-4000-8000-000000000002', 'purchase_order', ('cccccccc-b002-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, 90, 'EUR', '0b000000-0000-4000-8000-000000000007');
update purchase_orders set total_amount = 1310 where id = ('cccccccc-b000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid;
update approval_requests set amount = 1310, approver_id = '0b000000-0000-4000-8000-000000000006' where id = ('99999999-b000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid;
update purchase_orders set status = 'submitted' where id = ('cccccccc-b000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid;

-- > Stockholm: purchase order :n is approved, its twin denied
update approval_requests set status = 'approved', decided_at = '2026-03-05 09:00+00' where id = ('99999999-a000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid;
update purchase_orders set status = 'approved' where id = ('cccccccc-a000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid;
update approval_requests set status = 'denied', decided_at = '2026-03-05 09:05+00', approver_id = '0a000000-0000-4000-8000-000000000006' where id = ('99999999-a002-4000-8000-' || lpad(:n::text, 12, '0'))::uuid;
update purchase_orders set status = 'cancelled' where id = ('cccccccc-a002-4000-8000-' || lpad(:n::text, 12, '0'))::uuid;

-- > Rotterdam: purchase order :n is approved, its twin denied
update approval_requests set status = 'approved', decided_at = '2026-03-05 09:00+00' where id = ('99999999-b000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid;
update purchase_orders set status = 'approved' where id = ('cccccccc-b000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid;
update approval_requests set status = 'denied', decided_at = '2026-03-05 09:05+00', approver_id = '0b000000-0000-4000-8000-000000000006' where id = ('99999999-b002-4000-8000-' || lpad(:n::text, 12, '0'))::uuid;
update purchase_orders set status = 'cancelled' where id = ('cccccccc-b002-4000-8000-' || lpad(:n::text, 12, '0'))::uuid;

-- > Stockholm: purchase order :n is ordered and received
update purchase_orders set status = 'ordered', order_date = '2026-03-05' where id = ('cccccccc-a000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid;
update purchase_orders set status = 'received' where id = ('cccccccc-a000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid;
delete from purchase_orders where id = ('cccccccc-a002-4000-8000-' || lpad(:n::text, 12, '0'))::uuid;

-- > Rotterdam: purchase order :n is ordered and received
update purchase_orders set status = 'ordered', order_date = '2026-03-05' where id = ('cccccccc-b000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid;
update purchase_orders set status = 'received' where id = ('cccccccc-b000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid;
delete from purchase_orders where id = ('cccccccc-b002-4000-8000-' || lpad(:n::text, 12, '0'))::uuid;

-- > Stockholm: milestones of production :n
update project_milestones set due_date = '2026-03-07' where id = ('33333333-a000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid;
update project_milestones set status = 'completed', completed_at = '2026-03-07 10:00+00' where id = ('33333333-a000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid;
delete from project_milestones where id = ('33333333-a002-4000-8000-' || lpad(:n::text, 12, '0'))::uuid;
delete from project_tasks where id = ('22222222-a001-4000-8000-' || lpad(:n::text, 12, '0'))::uuid;

-- > Rotterdam: milestones of production :n
update project_milestones set due_date = '2026-03-07' where id = ('33333333-b000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid;
update project_milestones set status = 'completed', completed_at = '2026-03-07 10:00+00' where id = ('33333333-b000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid;
delete from project_milestones where id = ('33333333-b002-4000-8000-' || lpad(:n::text, 12, '0'))::uuid;
delete from project_tasks where id = ('22222222-b001-4000-8000-' || lpad(:n::text, 12, '0'))::uuid;

-- > Stockholm: production :n is completed
update project_tasks set status = 'done', completed_at = '2026-03-07 11:00+00' where id = ('22222222-a000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid;
update productions set status = 'completed' where id = ('11111111-a000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid;
insert into activities (id, workspace_id, user_id, action, entity_type, entity_id) values (('dddddddd-a003-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, '0a000000-0000-4000-8000-000000000002', '0a000000-0000-4000-8000-000000000006', 'UPDATE', 'productions', ('11111111-a000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid);

-- > Rotterdam: production :n is completed
update project_tasks set status = 'done', completed_at = '2026-03-07 11:00+00' where id = ('22222222-b000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid;
update productions set status = 'completed' where id = ('11111111-b000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid;
insert into activities (id, workspace_id, user_id, action, entity_type, entity_id) values (('dddddddd-b003-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, '0b000000-0000-4000-8000-000000000002', '0b000000-0000-4000-8000-000000000006', 'UPDATE', 'productions', ('11111111-b000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid);

-- > Stockholm: production :n goes into the archive, a draft is thrown away
update productions set status = 'archived' where id = ('11111111-a000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid;
insert into productions (id, workspace_id, name) values (('11111111-a002-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, '0a000000-0000-4000-8000-000000000002', 'Draft :n');
delete from productions where id = ('11111111-a002-4000-8000-' || lpad(:n::text, 12, '0'))::uuid;

-- > Rotterdam: production :n goes into the archive, a draft is thrown away
update productions set status = 'archived' where id = ('11111111-b000-4000-8000-' || lpad(:n::text, 12, '0'))::uuid;
insert into productions (id, workspace_id, name) values (('11111111-b002-4000-8000-' || lpad(:n::text, 12, '0'))::uuid, '0b000000-0000-4000-8000-000000000002', 'Draft :n');
delete from productions where id = ('11111111-b002-4000-8000-' || lpad(:n::text, 12, '0'))::uuid;
