-- A destination that takes nothing for a week is disabled, whoever serves its lane meanwhile and however often that changes.

alter table andon.lanes add column failing_since timestamptz, add column failed_at timestamptz;
comment on column andon.lanes.failing_since is 'When the destination began to fail; nothing was delivered since';
comment on column andon.lanes.failed_at is 'When that was last seen: a time in which nobody tried is not held against it';
