-- The port of a broker with TLS is 8883 unless its row says otherwise. A default here would say 1883 for all of them. Rows that exist keep theirs.
alter table andon.mqtt_publishers alter column port drop not null, alter column port drop default;
