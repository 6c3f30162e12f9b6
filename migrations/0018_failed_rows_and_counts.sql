-- A change that could not be captured is found again whatever its key looks like, however large its row is, and whatever its table is called
-- by then.

alter table andon.capture_errors
    add column relation oid,
    add column changed  text[],
    add column cut      text[];
comment on column andon.capture_errors.key is 'The primary key; several columns are joined by slashes, and a slash or tilde within one is written ~1 or ~0';
comment on column andon.capture_errors.relation is 'The table or partition, which keeps this identity when it is renamed';
comment on column andon.capture_errors.changed is 'The columns that the update changed, whether or not their values are kept';
comment on column andon.capture_errors.cut is 'The columns whose values are not kept: the row has more than 256 KiB, or a value has no JSON';

-- A row as JSON. A value that has none (a json with a null character, say) is left out, and costs neither the key nor the other rows of its
-- statement.
create function andon.row_image(relation oid, row_value anyelement) returns jsonb
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    image jsonb := '{}';
    field name;
    value jsonb;
begin
    return to_jsonb(row_value);
exception when transaction_rollback then
    raise;
when others then
    -- A row of a statement's rows has no type of its own, so that its fields are reached by way of its text.
    for field in select a.attname from pg_attribute a where a.attrelid = relation and a.attnum > 0 and not a.attisdropped loop
        begin
            execute format('select to_jsonb((($1::text)::%s).%I)', relation::regclass, field) into value using row_value;
            image := image || jsonb_build_object(field, value);
        exception when transaction_rollback then
            raise;
        when others then
            null;
        end;
    end loop;
    return image;
end $$;

-- The key of a row as text, written as the entity ids of events are: ('a/b', 'c') and ('a', 'b/c') are two rows. It is asked of the catalogue
-- at the moment of the failure: a column of the key may have been renamed since the table was attached.
create or replace function andon.row_key(relation oid, row_image jsonb) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
    select case count(*)
        when 1 then min(row_image ->> a.attname)
        else string_agg(replace(replace(row_image ->> a.attname, '~', '~0'), '/', '~1'), '/' order by k.place)
    end
    from pg_index i cross join lateral unnest(i.indkey::int2[]) with ordinality k (attnum, place)
    join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
    where i.indrelid = relation and i.indisprimary and k.place <= i.indnkeyatts
$$;

-- What is kept of a row: its key, and the columns that the mapping names. Nothing else leaves the table. Of a row with more than 256 KiB the
-- largest values are cut, because a plant may change many such rows in one statement; `cut` names their columns.
create function andon.kept_row(relation oid, columns text[], row_image jsonb, out image jsonb, out cut text[])
language sql stable set search_path = pg_catalog, pg_temp as $$
    select coalesce(jsonb_object_agg(field.name, field.value) filter (where field.fits), '{}'),
        nullif(array(
            select a.attname::text from pg_attribute a
            where a.attrelid = relation and a.attnum > 0 and not a.attisdropped and a.attname = any (columns) and not row_image ? a.attname::text
            union select unnest(array_agg(field.name) filter (where not field.fits)) order by 1
        ), '{}')
    from (
        select named.name, named.value, named.is_key
            or sum(pg_column_size(named.value)) over (order by not named.is_key, pg_column_size(named.value), named.name) <= 262144 as fits
        from (
            select it.key as name, it.value, it.key in (
                select a.attname from pg_index i cross join lateral unnest(i.indkey::int2[]) with ordinality k (attnum, place)
                join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
                where i.indrelid = relation and i.indisprimary and k.place <= i.indnkeyatts
            ) as is_key
            from jsonb_each(row_image) it
        ) named
        where named.is_key or named.name = any (columns)
    ) field
    having row_image is not null
$$;

-- As before, and with what is needed where a column or the table has another name by the time it is captured again.
create or replace function andon.capture_failed(
    source text, table_name text, operation text, relation oid, columns text[], sqlstate text, message text, new_row jsonb, old_row jsonb
) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    insert into andon.capture_errors (source, table_name, operation, key, sqlstate, message, new_image, old_image, relation, changed, cut)
    select capture_failed.source, capture_failed.table_name, capture_failed.operation,
        left(andon.row_key(capture_failed.relation, coalesce(capture_failed.new_row, capture_failed.old_row)), 1000),
        capture_failed.sqlstate, left(capture_failed.message, 1000), new.image, old.image, capture_failed.relation,
        case when capture_failed.new_row is not null and capture_failed.old_row is not null then array(
            select after.key from jsonb_each(capture_failed.new_row) after join jsonb_each(capture_failed.old_row) before using (key)
            where after.value::text <> before.value::text order by after.key
        ) end,
        nullif(array(select distinct unnest(new.cut || old.cut) order by 1), '{}')
    from (select null) one
    left join andon.kept_row(capture_failed.relation, capture_failed.columns, capture_failed.new_row) new on true
    left join andon.kept_row(capture_failed.relation, capture_failed.columns, capture_failed.old_row) old on true;
exception when transaction_rollback then
    raise;
when others then
    raise warning 'andon: % of % not captured (% %), and that could not be recorded: %',
        capture_failed.operation, capture_failed.table_name, capture_failed.sqlstate, left(capture_failed.message, 1000), sqlerrm;
end $$;

drop function andon.kept_image(oid, text[], jsonb);

-- As before, with these differences. What is compared with each event is a list of likes that is made once for each lane: a function call for each
-- took most of 20 s with 10,000 lanes behind a log of a million events. And where the log has dropped what a lane was at, the count begins with
-- its first event instead of finding nothing.
create or replace view andon.lane_status as
with bounds as materialized (
    select coalesce((select min(id) from andon.events), 0) as first, coalesce((select max(id) from andon.events), 0) as newest,
        greatest(50, least(10000, 200000 / greatest(1, count(*)))) as most
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
    select array(
        select regexp_replace(replace(replace(replace(pattern, '\', '\\'), '_', '\_'), '%', '\%'), '(^|\.)\*$', '\1%') from unnest(l.patterns) pattern
    ) as likes offset 0
) wanted
cross join lateral (
    select coalesce(round(sum(found.number * greatest(1, (stretch.past - stretch.low)::numeric / bounds.most))), 0)::bigint as waiting,
        coalesce(bool_and(stretch.past - stretch.low <= bounds.most) and count(*) < bounds.most / 10, true) as is_exact,
        min(found.oldest) as oldest
    from (
        select lower(ids) as low, upper(ids) as past
        from (select unnest(andon.pending_ids(l)) as ids limit bounds.most / 10) pending where l.state <> 'removed'
        union all
        select greatest(l.position + 1, bounds.first), bounds.newest + 1
        where l.state <> 'removed' and l.replay is null and l.position < bounds.newest
    ) stretch
    cross join lateral (
        select count(*) as number, min(e.captured_at) as oldest from andon.events e
        where e.id >= stretch.low and e.id < least(stretch.past, stretch.low + bounds.most)
            and (l.tenant = '*' or e.tenant = l.tenant) and (l.patterns is null or e.type like any (wanted.likes))
    ) found
) waits;

drop function andon.wants(text[], text);
