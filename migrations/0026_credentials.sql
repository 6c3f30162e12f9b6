-- What a webhook shows to its endpoint besides the signature: headers, a user and a password, a token, or the client credentials with which
-- another server gives a token. All of it is text, so that each can be sealed; headers is a JSON object of names and values.

alter table andon.webhooks add column headers text, add column username text, add column password text, add column token text,
    add column oauth_token_url text, add column oauth_client_id text, add column oauth_client_secret text, add column oauth_scope text;
