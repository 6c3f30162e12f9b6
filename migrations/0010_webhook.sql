-- The entity of a parked delivery may be longer than an entry of an index can be (2,704 bytes). The index holds its hash instead.

drop index andon.deliveries_of_entity;
create index deliveries_of_entity on andon.deliveries (lane, hashtextextended(entity_id, 0), event) where state <> 'dead';

-- As before, and by the index above. A daemon of the version before that asks for the entity alone gets the right answer, more slowly.
create or replace function andon.parked_before(lane text, entity_type text, entity_id text, event bigint) returns setof bigint
language sql stable as $$
    select earlier.event from andon.deliveries earlier
    where earlier.lane = parked_before.lane
        and hashtextextended(earlier.entity_id, 0) = hashtextextended(parked_before.entity_id, 0)
        and earlier.entity_type = parked_before.entity_type and earlier.entity_id = parked_before.entity_id
        and earlier.event < parked_before.event and earlier.state <> 'dead'
$$;
