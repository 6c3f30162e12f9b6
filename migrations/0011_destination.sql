-- A destination whose row says `settings.paused = true` gets nothing, and keeps its place in the log.

alter table andon.lanes drop constraint lane_state_is_known, add constraint lane_state_is_known
    check (state in ('running', 'retrying', 'open', 'paused', 'disabled', 'misconfigured', 'removed'));
