-- A lookup that fails costs the event what it gives, and not the event itself. What the generated functions need for that stands here, once,
-- and so does what makes a name out of the text that a mapping yields as the type of an event.

create index capture_errors_lookup on andon.capture_errors (source, table_name, at) where operation = 'lookup';

-- Finds out which lookups fail. Each probe is what follows the changed rows in a query that reads nothing and fails if the lookup does. It
-- runs with the rights and the search path of the function that calls it, and is of no use to anybody else.
create function andon.failing_lookups(relation oid, names text[], probes text[], out failing integer[], out reason text)
language plpgsql as $$
declare
    said text;
begin
    failing := '{}';
    for place in 1 .. coalesce(pg_catalog.cardinality(names), 0) loop
        begin
            execute pg_catalog.format(
                'select from (select (null::%1$s).*) as new cross join (select (null::%1$s).*) as old cross join (select (null::%1$s).*) as this
%2$s', relation::pg_catalog.regclass, probes[place]);
        exception when transaction_rollback then
            raise;
        when others then
            said := pg_catalog.format('lookup `%s`: %s', names[place], sqlerrm);
            failing := failing || place;
            reason := pg_catalog.concat_ws('; ', reason, said);
        end;
    end loop;
end $$;

-- Records that events were captured without what a lookup gives. Once a minute is enough: a plant that goes on for days must not push the
-- changes that are kept out of the list. A trial, which runs on a temporary table, wants to be told each time.
create function andon.lookup_failed(source text, table_name text, relation oid, sqlstate text, message text) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if exists (
        select from andon.capture_errors e
        where e.source = lookup_failed.source and e.table_name = lookup_failed.table_name and e.operation = 'lookup'
            and e.at > clock_timestamp() - interval '1 minute' and e.message = left(lookup_failed.message, 1000)
            and e.recovered_at is null and e.acknowledged_at is null
    ) and not exists (select from pg_class c where c.oid = lookup_failed.relation and c.relpersistence = 't') then
        return;
    end if;
    perform andon.capture_failed(lookup_failed.source, lookup_failed.table_name, 'lookup', null,
        lookup_failed.sqlstate, lookup_failed.message);
end $$;
revoke all on function andon.lookup_failed(text, text, oid, text, text) from public;

-- Makes the type of an event of the text that a mapping yields: what is no letter of a name becomes an underscore. Text of which no name can
-- be made is an error that says so. It has no settings of its own, which would cost each event more than it does.
create function andon.event_type(name text) returns text
language plpgsql immutable as $$
begin
    if name collate "C" ~ '^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$' then
        return name;
    elsif name is null then
        raise exception 'type_sql gives null, and an event needs a type' using errcode = '22004';
    end if;
    name := regexp_replace(name collate "C", '[^A-Za-z0-9_.-]+', '_', 'g');
    if name ~ '(^|\.)(\.|$)' then
        raise exception 'type_sql gives %, which is no dotted name such as job.created', quote_literal(left(name, 200)) using errcode = '22023';
    end if;
    return name;
end $$;
