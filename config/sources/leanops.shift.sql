-- plant
-- Each cycle adds its own two stations, with the same names as these but other rows, so that cycles that run in parallel never meet.
insert into public.users (id, email, role) values
    ('00000000-0000-4000-8000-000000000001', 'sara@leanops.example', 'supervisor'),
    ('00000000-0000-4000-8000-000000000002', 'omar@leanops.example', 'operator');
insert into public.stations (id, name, line, status) values
    ('ST-01', 'Press 1', 'Line A', 'idle'),
    ('ST-02', 'Weld 2', 'Line A', 'idle'),
    ('ST-03', 'Paint 3', 'Line B', 'idle'),
    ('ST-04', 'Assembly 4', 'Line B', 'idle');
insert into public.jobs (id, part_name, qty_total, due_date, priority, status) values
    ('JOB-A1', 'Bracket', 50, '2026-03-02', 'normal', 'completed'),
    ('JOB-A2', 'Hinge', 80, '2026-03-09', 'normal', 'waiting');

-- > Two stations are set up for the order
insert into public.stations (id, name, line, status) values
    ('ST-:n-1', 'Press 1', 'Line A', 'idle'),
    ('ST-:n-2', 'Assembly', 'Line A', 'idle');

-- > Assembly moves to Line B and is called Assembly 4
update public.stations set name = 'Assembly 4', line = 'Line B' where id = 'ST-:n-2';

-- > JOB-:n enters the queue
insert into public.jobs (id, part_name, qty_total, due_date, priority, status)
values ('JOB-:n', 'Door panel', 40, '2026-03-16', 'normal', 'waiting');

-- > The customer calls: JOB-:n is urgent now
update public.jobs set priority = 'high' where id = 'JOB-:n';

-- > Press 1 takes JOB-:n
insert into public.station_assignments (id, station_id, job_id, qty_done, started_at)
values (('00000001-0000-4000-8000-' || lpad(':n', 12, '0'))::uuid, 'ST-:n-1', 'JOB-:n', 0,
        timestamp '2026-03-02 06:00' + :n * interval '1 minute');
update public.stations set status = 'running' where id = 'ST-:n-1';
update public.jobs set status = 'running' where id = 'JOB-:n';
insert into public.events_log (id, event_type, station_id, job_id, meta, "timestamp")
values (('00000002-0000-4000-8000-' || lpad(':n', 12, '0'))::uuid, 'job_assigned', 'ST-:n-1', 'JOB-:n', '{"by": "sara", "qty": 40}',
        timestamp '2026-03-02 06:00' + :n * interval '1 minute');

-- > Press 1: 12 of 40 done
update public.station_assignments set qty_done = 12 where job_id = 'JOB-:n';
insert into public.performance_logs (id, station_id, job_id, qty_completed, "timestamp")
values (('00000003-0000-4000-8000-' || lpad(':n', 12, '0'))::uuid, 'ST-:n-1', 'JOB-:n', 12,
        timestamp '2026-03-02 06:10' + :n * interval '1 minute');

-- x The operator counts wrong and takes it back: nobody hears of 400
update public.station_assignments set qty_done = 400 where job_id = 'JOB-:n';
update public.jobs set status = 'completed' where id = 'JOB-:n';

-- > Press 1 is blocked: no sheets
update public.stations set status = 'blocked' where id = 'ST-:n-1';
update public.jobs set status = 'waiting' where id = 'JOB-:n';
insert into public.events_log (id, event_type, station_id, job_id, meta, "timestamp")
values (('00000004-0000-4000-8000-' || lpad(':n', 12, '0'))::uuid, 'Material missing', 'ST-:n-1', null, '{"material": "DC01 sheet"}',
        timestamp '2026-03-02 06:12' + :n * interval '1 minute');

-- > Sheets are there: Press 1 goes on
update public.stations set status = 'running' where id = 'ST-:n-1';
update public.jobs set status = 'running' where id = 'JOB-:n';

-- > JOB-:n moves on to Assembly 4
update public.station_assignments set station_id = 'ST-:n-2', qty_done = 20 where job_id = 'JOB-:n';
update public.stations set status = 'idle' where id = 'ST-:n-1';
update public.stations set status = 'running' where id = 'ST-:n-2';

-- > JOB-:n completed, 40 of 40
update public.station_assignments set qty_done = 40 where job_id = 'JOB-:n';
insert into public.performance_logs (id, station_id, job_id, qty_completed, "timestamp")
values (('00000005-0000-4000-8000-' || lpad(':n', 12, '0'))::uuid, 'ST-:n-2', 'JOB-:n', 20,
        timestamp '2026-03-02 06:40' + :n * interval '1 minute');
update public.jobs set status = 'completed' where id = 'JOB-:n';
update public.stations set status = 'idle' where id = 'ST-:n-2';
insert into public.events_log (id, event_type, station_id, job_id, meta, "timestamp")
values (('00000006-0000-4000-8000-' || lpad(':n', 12, '0'))::uuid, 'job_completed', 'ST-:n-2', 'JOB-:n', '{"qty": 40}',
        timestamp '2026-03-02 06:40' + :n * interval '1 minute');

-- > Two good parts more are counted at the end of the line
insert into public.performance_logs (id, station_id, job_id, qty_completed, "timestamp")
values (('00000007-0000-4000-8000-' || lpad(':n', 12, '0'))::uuid, null, 'JOB-:n', 2,
        timestamp '2026-03-02 06:45' + :n * interval '1 minute');

-- > Assembly 4 is taken out of use for cleaning, and back
update public.stations set is_active = false where id = 'ST-:n-2';
update public.stations set is_active = true where id = 'ST-:n-2';
insert into public.events_log (id, event_type, station_id, job_id, meta, "timestamp")
values (('00000008-0000-4000-8000-' || lpad(':n', 12, '0'))::uuid, 'shift_note', null, null, '{"text": "Line B cleaned"}',
        timestamp '2026-03-02 06:50' + :n * interval '1 minute');

-- > JOB-:n leaves the system, and so do its stations
delete from public.station_assignments where job_id = 'JOB-:n';
delete from public.jobs where id = 'JOB-:n';
delete from public.stations where id in ('ST-:n-1', 'ST-:n-2');
