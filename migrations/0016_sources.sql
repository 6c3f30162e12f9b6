-- Attaching proves what it has installed, and daemons look again. What they find stands beside the source, so that it shows whether or not
-- anybody reads a log.
alter table andon.sources
    add column attached_by   text,
    add column watch_ddl     boolean     not null default false,
    add column trusts_owners boolean     not null default false,
    add column state         text        not null default 'unknown'
        constraint source_state_is_known check (state in ('unknown', 'attached', 'differs')),
    add column reason        text,
    add column checked_at    timestamptz;
comment on column andon.sources.attached_by is 'The role that has attached it, to which the capture functions belong; null: an older version did';
comment on column andon.sources.watch_ddl is 'Whether the daemon wants to be told of changes of the schema';
comment on column andon.sources.trusts_owners is 'Whether it was attached with --trust-owners';
comment on column andon.sources.state is 'Whether what is installed is what the mapping wants, when it was last looked at';
comment on column andon.sources.reason is 'How it differs';

-- What a look finds wakes nobody: only what was attached is news for the daemons.
create or replace trigger andon_destinations
    after insert or update of name, profile, mapping, mqtt_publishers, webhooks, attached_at or delete or truncate on andon.sources
    for each statement execute function andon.destinations_changed();
