-- Every lane has the log's open holes pending, because what fills them is still to be delivered. An import that inserts row by row for an
-- hour leaves tens of thousands of them, which would be written again with every cursor of every lane. So a daemon writes them once, and
-- the rows of its lanes only say how they differ from that.

create table andon.shared_holes (
    id      uuid           primary key,
    daemon  uuid           not null,
    holes   int8multirange not null,
    made_at timestamptz    not null default now()
);
comment on table andon.shared_holes is 'Open holes of the log, written once for many lanes; never changed';

alter table andon.lanes
    add column shared_holes uuid references andon.shared_holes,
    add column filled int8multirange not null default '{}';
comment on column andon.lanes.pending is 'The ids up to the position that are not done, besides the shared holes: andon.pending_ids(lanes) has all';
comment on column andon.lanes.shared_holes is 'Holes of the log that are pending up to the position as well, except those in `filled`';
comment on column andon.lanes.filled is 'The ids among the shared holes that are done';

-- All ids up to a lane's position that are not done.
create function andon.pending_ids(lane andon.lanes) returns int8multirange
language sql stable set search_path = pg_catalog, pg_temp as $$
    select case when lane.shared_holes is null then lane.pending else lane.pending + (
        select shared.holes * int8multirange(int8range(null, lane.position, '[]')) - lane.filled
        from andon.shared_holes shared where shared.id = lane.shared_holes
    ) end
$$;

-- Whoever takes a lane gets all that is pending in its row, as a daemon of the version before expects it.
create function andon.unshare_holes() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    new.pending := new.pending + (andon.pending_ids(old) - old.pending) * int8multirange(int8range(null, new.position, '[]'));
    new.shared_holes := null;
    new.filled := '{}';
    return new;
end $$;

create trigger unshare_holes before update on andon.lanes for each row
    when (old.shared_holes is not null and new.epoch <> old.epoch and new.shared_holes = old.shared_holes)
    execute function andon.unshare_holes();
