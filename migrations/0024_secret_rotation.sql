-- While the secret of a webhook changes, the one before signs too, until its time by the clock of the database.

alter table andon.webhooks
    add column previous_secret_key   text,
    add column previous_secret_until timestamptz;
comment on column andon.webhooks.previous_secret_key is 'What secret_key was before `andon webhooks rotate-secret`; it signs too until previous_secret_until';
