-- Daemons of this version call functions that `andon grants` of earlier versions did not give their role, and a destination that fails stopped until it
-- was run again. It could not be run before the daemons were restarted, because it takes away what those of earlier versions need. Now who runs a daemon
-- may do what this version needs once `andon migrate` has run, and `andon grants` afterwards only takes away.
do $$
declare
    one   record;
    given text;
begin
    for one in
        select distinct quote_ident(pg_get_userbyid(it.grantee)) as role from pg_class c cross join aclexplode(c.relacl) it
        where c.oid = 'andon.lanes'::regclass and it.privilege_type = 'INSERT' and it.grantee not in (0, c.relowner)
    loop
        foreach given in array array[
            'usage on schema andon',
            'select on andon.events, andon.events_id_seq, andon.sources, andon.mqtt_publishers, andon.webhooks, andon.capture_errors, andon.lane_status, andon.migrations, andon.turns',
            'select, update on andon.tail',
            'select, insert, update, delete on andon.lanes, andon.broker_names, andon.daemons',
            'select, delete, update (lane, state, attempts, next_attempt_at, reason, replayed) on andon.deliveries',
            'select, insert on andon.attempts',
            'select, insert, update on andon.replays',
            'select, insert, delete on andon.shared_holes',
            'update (daemon) on andon.turns',
            'update (state, reason, checked_at) on andon.sources',
            'execute on function andon.drop_empty_log(), andon.emit_disabled(text), andon.emit_notified(text, text, text, jsonb, text, text, text, jsonb), andon.empty_log(regclass, bigint), andon.extend_log(interval, bigint, bigint), andon.is_served(uuid), andon.keep_attempts(interval), andon.keep_capture_errors(interval), andon.lives(timestamptz), andon.log_partitions(), andon.may_notify(), andon.notifications_failed(text, text, text, text, bigint), andon.notify_deliveries(), andon.notify_destinations(), andon.park(text, bigint[], text[], integer[], double precision[], text[], boolean), andon.parked_before(text, text, text, bigint), andon.pending_ids(andon.lanes), andon.set_aside(bigint, text, text), andon.trim_log(bigint)'
        ] loop
            execute format('grant %s to %s', given, one.role);
        end loop;
    end loop;
end $$;
