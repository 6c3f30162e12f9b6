//! Lists the secrets of Andon's own tables, as they stand there. In: the tables. Out: each secret that is not empty, with its place. It only reads.

use tokio_postgres::GenericClient;
use tokio_postgres::Row;

use crate::sealing;
use crate::sealing::Place;

/// A secret as it stands in a row.
#[derive(Debug, Clone)]
pub struct Held {
    /// What people call the row: its name, or its key.
    pub name: String,
    /// The tenant that it belongs to.
    pub tenant: String,
    table: String,
    row: String,
    /// The column, or `settings.` and the name of the setting.
    pub column: String,
    pub(super) text: String,
}

impl Held {
    /// Returns the id of the key that it is sealed with, if it is.
    pub fn key_id(&self) -> Option<&str> {
        sealing::key_id(&self.text)
    }

    /// Returns whether it stands there in plain text.
    pub fn is_plain(&self) -> bool {
        !sealing::is_sealed(&self.text)
    }

    /// Returns the name of the lane that serves the row.
    pub fn lane(&self) -> String {
        format!("{}/{}", self.table, self.row)
    }

    pub(super) fn place(&self) -> Place<'_> {
        Place { table: &self.table, row: &self.row, column: &self.column }
    }

    fn of(row: &Row) -> Held {
        Held {
            table: row.get(0),
            row: row.get(1),
            name: row.get(2),
            column: row.get(3),
            text: row.get(4),
            tenant: row.get(5),
        }
    }
}

/// Returns all secrets. A URL is one if it is sealed, or if a user, a password or a query stands in it: a token may be any of them. Nobody can tell
/// whether a path is one.
pub async fn all(client: &impl GenericClient) -> Result<Vec<Held>, tokio_postgres::Error> {
    let sql = "select held.*, it.tenant_id from andon.webhooks it, lateral (values
            ('andon.webhooks', id::text, coalesce(name, id::text), 'secret_key', secret_key),
            ('andon.webhooks', id::text, coalesce(name, id::text), 'previous_secret_key', previous_secret_key),
            ('andon.webhooks', id::text, coalesce(name, id::text), 'headers', headers),
            ('andon.webhooks', id::text, coalesce(name, id::text), 'password', password),
            ('andon.webhooks', id::text, coalesce(name, id::text), 'token', token),
            ('andon.webhooks', id::text, coalesce(name, id::text), 'oauth_client_secret', oauth_client_secret),
            ('andon.webhooks', id::text, coalesce(name, id::text), 'oauth_token_url',
                case when oauth_token_url like 'sealed:%' or oauth_token_url ~ '[?@]' then oauth_token_url end),
            ('andon.webhooks', id::text, coalesce(name, id::text), 'url',
                case when url like 'sealed:%' or url ~ '[?@]' then url end),
            ('andon.webhooks', id::text, coalesce(name, id::text), 'settings.client_key', settings ->> 'client_key')
        ) held (place, id, name, secret, text) where text <> ''
        union all select held.*, it.tenant_id from andon.mqtt_publishers it, lateral (values
            ('andon.mqtt_publishers', id::text, name, 'password', password),
            ('andon.mqtt_publishers', id::text, name, 'settings.client_key', settings ->> 'client_key')
        ) held (place, id, name, secret, text) where text <> ''
        order by name, id, secret";
    Ok(client.query(sql, &[]).await?.iter().map(Held::of).collect())
}
