-- A webhook can have a name, as a publisher has. Messages and commands call it so, because nobody wants to type a URL at night. Those that
-- have none are called by their URL, as before.

alter table andon.webhooks add column name text;
