-- The ledger as operators use it.

-- A delivery that somebody asked for again says so to its receiver.
alter table andon.deliveries add column replayed boolean not null default false;
