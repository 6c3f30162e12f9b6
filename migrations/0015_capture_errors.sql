-- A change that could not be captured is not lost: what is needed to make its event later is kept. And what waits for each destination can be
-- seen with one select, whether or not a daemon lives.

alter table andon.capture_errors
    add column new_image       jsonb,
    add column old_image       jsonb,
    add column events          integer,
    add column recovered_at    timestamptz,
    add column acknowledged_at timestamptz;
comment on column andon.capture_errors.new_image is 'The row after the change: its key and the columns that the mapping names';
comment on column andon.capture_errors.old_image is 'The row before the change: its key and the columns that the mapping names';
comment on column andon.capture_errors.events is 'How many events `andon capture --again` has made of it';
comment on column andon.capture_errors.recovered_at is 'When `andon capture --again` has captured it';
comment on column andon.capture_errors.acknowledged_at is 'When somebody has said that it is known and nothing more is to be done';
create index capture_errors_open on andon.capture_errors (id) where recovered_at is null and acknowledged_at is null;

-- The key of a row as text. It is asked of the catalogue at the moment of the failure: a column of the key may have been renamed since the
-- table was attached.
create function andon.row_key(relation oid, row_image jsonb) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
    select string_agg(row_image ->> a.attname, '/' order by k.place)
    from pg_index i cross join lateral unnest(i.indkey::int2[]) with ordinality k (attnum, place)
    join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
    where i.indrelid = relation and i.indisprimary
$$;

-- What is kept of a row: its key, and the columns that the mapping names. Nothing else leaves the table. An image of more than 256 KiB is
-- not kept, because a plant may change many such rows in one statement.
create function andon.kept_image(relation oid, columns text[], row_image jsonb) returns jsonb
language sql stable set search_path = pg_catalog, pg_temp as $$
    select case when pg_column_size(kept.image) <= 262144 then kept.image end
    from (
        select jsonb_object_agg(field.key, field.value) as image from jsonb_each(row_image) field
        where field.key = any (columns) or field.key in (
            select a.attname from pg_index i join pg_attribute a on a.attrelid = i.indrelid and a.attnum = any (i.indkey)
            where i.indrelid = relation and i.indisprimary
        )
    ) kept
$$;

-- Records one changed row that a trigger could not capture, with what `andon capture --again` needs. Functions that an older version has
-- installed call the one with six parameters.
create function andon.capture_failed(
    source text, table_name text, operation text, relation oid, columns text[], sqlstate text, message text, new_row jsonb, old_row jsonb
) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    insert into andon.capture_errors (source, table_name, operation, key, sqlstate, message, new_image, old_image)
    values (capture_failed.source, capture_failed.table_name, capture_failed.operation,
            left(andon.row_key(capture_failed.relation, coalesce(capture_failed.new_row, capture_failed.old_row)), 1000),
            capture_failed.sqlstate, left(capture_failed.message, 1000),
            andon.kept_image(capture_failed.relation, capture_failed.columns, capture_failed.new_row),
            andon.kept_image(capture_failed.relation, capture_failed.columns, capture_failed.old_row));
exception when transaction_rollback then
    raise;
when others then
    raise warning 'andon: % of % not captured (% %), and that could not be recorded: %',
        capture_failed.operation, capture_failed.table_name, capture_failed.sqlstate, left(capture_failed.message, 1000), sqlerrm;
end $$;
revoke all on function andon.capture_failed(text, text, text, oid, text[], text, text, jsonb, jsonb) from public;

-- Removes errors that were recovered or acknowledged longer ago than `age`, and the oldest beyond `most`, so that a capture which always
-- fails does not fill the disk. Returns how many were removed that nobody had seen to. A few at a time: whoever calls it calls it again.
create function andon.keep_capture_errors(age interval, most bigint default 1000000) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    last_kept bigint;
    unseen    bigint;
begin
    delete from andon.capture_errors where id in (
        select id from andon.capture_errors where coalesce(recovered_at, acknowledged_at) < now() - age order by id limit 10000
    );
    select id into last_kept from andon.capture_errors order by id desc offset greatest(most, 1) - 1 limit 1;
    with removed as (
        delete from andon.capture_errors where id in (
            select id from andon.capture_errors where id < last_kept order by id limit 10000
        ) returning recovered_at is null and acknowledged_at is null as is_unseen
    )
    select count(*) filter (where is_unseen) into unseen from removed;
    return unseen;
end $$;
revoke all on function andon.keep_capture_errors(interval, bigint) from public;

-- Which events a lane wants, for those who count what waits for it.
alter table andon.lanes add column patterns text[];
comment on column andon.lanes.patterns is 'The patterns of the events that its destination wants; null: not known, so that all of the tenant count';

create function andon.wants(patterns text[], type text) returns boolean
language sql immutable
return patterns is null or exists (
    select from unnest(patterns) pattern
    where pattern = type or pattern = '*' or (right(pattern, 2) = '.*' and starts_with(type, left(pattern, -1)))
);

create index deliveries_dead on andon.deliveries (lane) where state = 'dead';

-- One line for each lane. What waits in the log is counted among the first ids that the lane has not done, 10,000 at most and fewer where
-- there are many lanes, so that this is cheap whatever the backlog is; beyond that it is an estimate. A lane writes its row a few times a
-- second, so that a busy lane shows the events since then.
create view andon.lane_status as
with bounds as materialized (
    select coalesce((select max(id) from andon.events), 0) as newest,
        greatest(100, least(10000, 200000 / greatest(1, count(*)))) as most
    from andon.lanes where state <> 'removed'
)
select l.lane, l.name,
    case when starts_with(l.lane, 'andon.mqtt_publishers/')
            or exists (select from andon.sources s where starts_with(l.lane, s.mqtt_publishers || '/'))
        then 'mqtt' else 'webhook' end as kind,
    l.tenant, l.patterns, l.state, l.state_since, l.reason, l.failing_since, d.name as daemon,
    waits.waiting, waits.is_exact as waiting_is_exact, waits.oldest,
    (select count(*) from (select from andon.deliveries p where p.lane = l.lane and p.state <> 'dead' limit 10000) it) as parked,
    (select count(*) from (select from andon.deliveries p where p.lane = l.lane and p.state = 'dead' limit 10000) it) as dead,
    l.lost, l.lost_at, l.replay
from andon.lanes l cross join bounds
left join andon.daemons d on d.daemon = l.daemon and andon.lives(d.lease_until)
cross join lateral (
    select coalesce(round(sum(found.number * greatest(1, (stretch.past - stretch.low)::numeric / bounds.most))), 0)::bigint as waiting,
        coalesce(bool_and(stretch.past - stretch.low <= bounds.most) and count(*) < bounds.most / 10, true) as is_exact,
        min(found.oldest) as oldest
    from (
        select lower(ids) as low, upper(ids) as past
        from (select unnest(andon.pending_ids(l)) as ids limit bounds.most / 10) pending where l.state <> 'removed'
        union all
        select l.position + 1, bounds.newest + 1
        where l.state <> 'removed' and l.replay is null and l.position < bounds.newest
    ) stretch
    cross join lateral (
        select count(*) as number, min(e.captured_at) as oldest from andon.events e
        where e.id >= stretch.low and e.id < least(stretch.past, stretch.low + bounds.most)
            and (l.tenant = '*' or e.tenant = l.tenant) and andon.wants(l.patterns, e.type)
    ) found
) waits;
comment on view andon.lane_status is 'One line for each lane: its state, and what waits, is parked, is dead and was lost';
comment on column andon.lane_status.daemon is 'The daemon that serves the lane; null: nobody does';
comment on column andon.lane_status.waiting is 'The events in the log that are still to be delivered; see waiting_is_exact';
comment on column andon.lane_status.oldest is 'When the oldest of the waiting events was captured';
comment on column andon.lane_status.parked is 'Deliveries that are tried again; 10000 stands for that or more';
comment on column andon.lane_status.dead is 'Deliveries that were given up; 10000 stands for that or more';
