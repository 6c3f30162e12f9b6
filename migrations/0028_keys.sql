-- Which keys each daemon opens sealed secrets with, so that nothing is sealed with a key that a living daemon does not hold.

alter table andon.daemons add column keys text[];
comment on column andon.daemons.keys is 'The ids of the keys of its configuration, which tell nothing about the keys; null: an older version, which does not say';
