-- The owner of the plant's database. `andon migrate` and `andon attach` work as this role, and nothing else does.
create role plant_owner login password 'andon';
alter database plant owner to plant_owner;
