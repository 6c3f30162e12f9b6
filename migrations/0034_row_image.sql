-- As before, but for tables with a column of a type that somebody else can turn into JSON by code of his own (create cast): of their rows nothing is
-- kept, because his code would run with the rights of the capture function. It may be a column that no mapping names, and that came later.
create or replace function andon.row_image(relation oid, row_value anyelement) returns jsonb
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    image jsonb := '{}';
    field name;
    value jsonb;
begin
    if exists (
        select from pg_cast c join pg_proc p on p.oid = c.castfunc join pg_roles r on r.oid = p.proowner
        where c.casttarget = 'json'::regtype and not r.rolsuper and r.rolname <> current_user and c.castsource in (
            with recursive used (oid) as (
                select a.atttypid from pg_attribute a where a.attrelid = relation and a.attnum > 0 and not a.attisdropped
                union
                select part.oid from used join pg_type t on t.oid = used.oid cross join lateral (
                    select t.typelem union all select t.typbasetype union all
                    select a.atttypid from pg_attribute a where t.typrelid <> 0 and a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped
                ) part (oid)
            )
            select oid from used
        )
    ) then
        return '{}';
    end if;
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
