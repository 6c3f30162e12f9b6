-- Many deliveries may be due at the same moment, as when somebody retries all that are dead. They are read in the order of this index, page
-- after page, and no page sorts those that have the same time.

drop index andon.deliveries_due;
create index deliveries_due on andon.deliveries (lane, next_attempt_at, event) where state = 'retry';
