-- Questions and notifications that several statements of `andon run` and of the command line share stand here once, so that they cannot
-- drift apart. Nothing that existed is changed: a daemon of the version before goes on until it is updated.

-- Whether a daemon serves a lane whose row names it. A lane without a daemon, or whose daemon has let its lease run out, is free.
create function andon.is_served(daemon uuid) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
    select exists (select from andon.daemons it where it.daemon = is_served.daemon and andon.lives(it.lease_until))
$$;

-- The parked deliveries that hold this one back: those of earlier events of the same entity, unless they are dead. A delivery is the first of
-- its entity where `not exists (select from andon.parked_before(lane, entity_type, entity_id, event))`. It has no `set` clause because
-- PostgreSQL would not inline it then: inlined, it is one probe of the index deliveries_of_entity.
create function andon.parked_before(lane text, entity_type text, entity_id text, event bigint) returns setof bigint
language sql stable as $$
    select earlier.event from andon.deliveries earlier
    where earlier.lane = parked_before.lane and earlier.entity_type = parked_before.entity_type
        and earlier.entity_id = parked_before.entity_id and earlier.event < parked_before.event and earlier.state <> 'dead'
$$;

-- Tells every daemon that what it is to serve may have changed: a destination, a replay, or a lane that another daemon has given up.
create function andon.notify_destinations() returns void
language sql as $$ select pg_catalog.pg_notify('andon', 'destinations') $$;

-- Tells every lane that somebody other than a lane has changed `andon.deliveries`.
create function andon.notify_deliveries() returns void
language sql as $$ select pg_catalog.pg_notify('andon', 'deliveries') $$;
