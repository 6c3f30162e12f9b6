-- The plant of the compatibility run. Each event is counted here in the transaction that emits it, so that these counters say what was
-- committed, whether its commit was confirmed or not.
create schema plant;

create table plant.counters (
    step    text   not null,
    entity  text   not null,
    counter bigint not null,
    primary key (step, entity)
) with (fillfactor = 50);

-- Reports ten parts, one of each entity.
create function plant.report(during text) returns void language plpgsql as $$
declare
    it plant.counters;
begin
    for number in 1..10 loop
        insert into plant.counters as known values (during, during || '-' || number, 1)
        on conflict (step, entity) do update set counter = known.counter + 1
        returning * into it;
        perform andon.emit('part.made', jsonb_build_object('entity', it.entity, 'counter', it.counter), 'acme', 'part', it.entity);
    end loop;
end $$;
