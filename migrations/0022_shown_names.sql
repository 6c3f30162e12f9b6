-- A webhook without a name was called by its URL, which may hold a password or a token, and this name stands where many may read it. It is
-- called by scheme, host and port from now on, with the key of its row. Lanes that are served get that name from their daemon in any case;
-- here the lanes get it whose destinations are gone.

update andon.lanes set name = concat(
    regexp_replace(name, '^([[:alnum:]+.-]+://)([^/?#]*@)?([^/?# ]*).*$', '\1\3'), '#',
    regexp_replace(regexp_replace(lane, '~replay/[0-9]+$', ''), '^[^/]*/', ''),
    substring(name from ' \(replay [0-9]+\)$')
) where name ~ '^[[:alnum:]+.-]+://';
