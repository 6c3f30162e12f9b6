-- The fingerprint of a lane is a digest of its destination's row with all secrets, and was made without a key until now, so that a weak secret
-- could be guessed by it. A lane that is served gets a new one when it is taken over; one that is removed needs none.
update andon.lanes set fingerprint = null where state = 'removed';
