-- One odd event is one event, and a log that went back is noticed.

-- A daemon recognises by this that the database has lost a write that it had confirmed: a crash that did not flush it, or the promotion of a
-- standby that lagged. Daemons of the version before do not count their writes, which is as if they had made none.
alter table andon.lanes add column writes bigint not null default 0;
comment on column andon.lanes.writes is 'How often the lane has written its row; a row that has fewer than the lane knows of was lost';

-- The tail recognises the log by its events, and no longer by these. A daemon of the version before still compares them.
comment on column andon.tail.system_identifier is 'No longer used';
comment on column andon.tail.timeline is 'No longer used';
