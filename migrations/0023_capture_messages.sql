-- What PostgreSQL says of a change that could not be captured may quote the values of the row. The record of the failure keeps the values that
-- the mapping names in columns of their own, which can be granted apart; its message goes to logs, screens and dashboards, and shows none.

-- Takes the values out of a message. What PostgreSQL quotes in a data exception is a value; in all other messages of its own it is a name. Messages
-- of functions that somebody wrote may quote any value of the row without marks.
create function andon.without_values(sqlstate text, message text, new_row jsonb, old_row jsonb) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    value text;
begin
    if left(sqlstate, 2) in ('0A', '23', '25', '28', '3D', '3F', '40', '42', '53', '54', '55', '57', '58', 'XX') then
        return message;
    end if;
    if left(sqlstate, 2) = '22' then
        -- From the first mark to the last one, because a value may hold marks itself.
        message := regexp_replace(message, '".*"', '"..."');
        message := regexp_replace(message, '''.*''', '''...''');
    end if;
    for value in
        select distinct it.value from (
            select fields.value from jsonb_each_text(case jsonb_typeof(new_row) when 'object' then new_row end) fields
            union select fields.value from jsonb_each_text(case jsonb_typeof(old_row) when 'object' then old_row end) fields
        ) it where length(it.value) between 3 and 1000 and it.value not in ('true', 'false') and strpos(message, it.value) > 0
        order by it.value desc
    loop
        message := replace(message, value, '...');
    end loop;
    return message;
end $$;
revoke all on function andon.without_values(text, text, jsonb, jsonb) from public;

-- As before, without values in the message.
create or replace function andon.capture_failed(
    source text, table_name text, operation text, relation oid, columns text[], sqlstate text, message text, new_row jsonb, old_row jsonb
) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    reason text;
begin
    reason := left(andon.without_values(capture_failed.sqlstate, capture_failed.message, capture_failed.new_row, capture_failed.old_row), 1000);
    insert into andon.capture_errors (source, table_name, operation, key, sqlstate, message, new_image, old_image, relation, changed, cut)
    select capture_failed.source, capture_failed.table_name, capture_failed.operation,
        left(andon.row_key(capture_failed.relation, coalesce(capture_failed.new_row, capture_failed.old_row)), 1000),
        capture_failed.sqlstate, reason, new.image, old.image, capture_failed.relation,
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
        capture_failed.operation, capture_failed.table_name, capture_failed.sqlstate, reason, sqlerrm;
end $$;

-- The same for what is no row: a notification, an event that an application raises, an event that cannot be read.
create or replace function andon.capture_failed(source text, table_name text, operation text, key text, sqlstate text, message text) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    reason text;
begin
    reason := left(andon.without_values(capture_failed.sqlstate, capture_failed.message, null, null), 1000);
    insert into andon.capture_errors (source, table_name, operation, key, sqlstate, message)
    values (capture_failed.source, capture_failed.table_name, capture_failed.operation, left(capture_failed.key, 1000),
            capture_failed.sqlstate, reason);
exception when transaction_rollback then
    raise;
when others then
    raise warning 'andon: % of % not captured (% %), and that could not be recorded: %',
        capture_failed.operation, capture_failed.table_name, capture_failed.sqlstate, reason, sqlerrm;
end $$;

-- What was recorded before keeps no value either.
update andon.capture_errors set message = andon.without_values(sqlstate, message, new_image, old_image)
where message <> andon.without_values(sqlstate, message, new_image, old_image);
