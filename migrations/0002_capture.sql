-- What the generated capture functions share. They are the only callers: nobody else may write into the list of failures.

-- Records what a trigger could not capture. The plant's statement is in flight, so a failure to record is a warning and nothing more.
create function andon.capture_failed(source text, table_name text, operation text, key text, sqlstate text, message text) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    insert into andon.capture_errors (source, table_name, operation, key, sqlstate, message)
    values (capture_failed.source, capture_failed.table_name, capture_failed.operation, capture_failed.key,
            capture_failed.sqlstate, capture_failed.message);
exception when others then
    raise warning 'andon: % of % not captured (% %), and that could not be recorded: %',
        capture_failed.operation, capture_failed.table_name, capture_failed.sqlstate, capture_failed.message, sqlerrm;
end $$;
revoke all on function andon.capture_failed(text, text, text, text, text, text) from public;
