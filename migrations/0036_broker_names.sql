-- Who has which name at a broker: the level in its status topic, and the client id that its row pins. Until now two publishers with one name moved each
-- other's status topic, and with one client id threw each other off. Now the one that has a name keeps it, and this is where that is known.

create table andon.broker_names (
    name text primary key,
    lane text not null
);
comment on table andon.broker_names is 'The names at brokers that one lane has, and no other may have: the levels of status topics, and pinned client ids';
comment on column andon.broker_names.name is 'The name with its broker, or a digest of both where they are long or not in ASCII';
comment on column andon.broker_names.lane is 'The lane that keeps the name for as long as its row asks for it';

-- Who runs a daemon writes this table too.
do $$
declare
    one record;
begin
    for one in
        select distinct quote_ident(pg_get_userbyid(it.grantee)) as role from pg_class c cross join aclexplode(c.relacl) it
        where c.oid = 'andon.lanes'::regclass and it.privilege_type = 'INSERT' and it.grantee not in (0, c.relowner)
    loop
        execute format('grant select, insert, update, delete on andon.broker_names to %s', one.role);
    end loop;
end $$;
