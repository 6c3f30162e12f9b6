//! Finds the row that a command names, and writes a secret into it. In: a name, and a secret. Out: one row, or none or several, and the secret
//! sealed in its column. It writes nothing else into the destinations' tables.

use std::fmt::Display;

use tokio_postgres::GenericClient;

use crate::sealing::Keys;
use crate::sealing::Place;
use crate::secret::Secret;
use crate::secrets::hidden::Hidden;

/// The table that a row is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// `andon.mqtt_publishers`
    Publisher,
    /// `andon.webhooks`
    Webhook,
}

/// A row of a destination.
#[derive(Debug, Clone)]
pub struct FoundRow {
    /// The table.
    pub owner: Owner,
    /// The row's key.
    pub id: String,
    /// The tenant that it belongs to.
    pub tenant: String,
}

impl Owner {
    fn table(self) -> &'static str {
        match self {
            Owner::Publisher => "andon.mqtt_publishers",
            Owner::Webhook => "andon.webhooks",
        }
    }

    /// Returns the columns whose values can be sealed, and the settings, which are named as in the row.
    pub fn columns(self) -> &'static [&'static str] {
        match self {
            Owner::Publisher => &["password", "settings.client_key"],
            Owner::Webhook => &[
                "secret_key",
                "previous_secret_key",
                "url",
                "headers",
                "password",
                "token",
                "oauth_token_url",
                "oauth_client_secret",
                "settings.client_key",
            ],
        }
    }
}

impl Display for Owner {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.table())
    }
}

/// Finds the rows that are called so, by their lanes, keys or names.
pub async fn find(
    client: &impl GenericClient,
    owner: Owner,
    called: &str,
) -> Result<Vec<FoundRow>, tokio_postgres::Error> {
    // Whoever writes a row may name it like the lane or the key of another. What he cannot choose comes first.
    let of_lane = called.strip_prefix(owner.table()).and_then(|rest| rest.strip_prefix('/'));
    // A webhook without a name is called `https://erp.example#42`.
    let of_address = called.rsplit_once('#').filter(|(address, _)| address.contains("://")).map(|(_, key)| key);
    let key = of_lane.or(of_address).unwrap_or(called);
    let sql = format!(
        "select id::text, tenant_id from {owner}
        where id::text = $2 or (name = $1 and not exists (select from {owner} it where it.id::text = $2)) order by id"
    );
    let rows = client.query(&sql, &[&called, &key]).await?;
    Ok(rows.iter().map(|row| FoundRow { owner, id: row.get(0), tenant: row.get(1) }).collect())
}

/// Seals a secret and writes it into the row. Returns false if the row is gone or there is no key.
pub async fn set(
    client: &impl GenericClient,
    row: &FoundRow,
    column: &str,
    secret: &Secret,
    keys: &Keys,
) -> Result<bool, tokio_postgres::Error> {
    let place = Place { table: row.owner.table(), row: &row.id, column };
    let Some(sealed) = keys.seal(secret, place) else { return Ok(false) };
    write(client, place, &sealed, None).await
}

/// Writes a text into a column, or into a setting. With `instead_of`, only if that is what stands there.
pub(super) async fn write(
    client: &impl GenericClient,
    place: Place<'_>,
    text: &str,
    instead_of: Option<&str>,
) -> Result<bool, tokio_postgres::Error> {
    // Table and column are Andon's own words, and come from no row.
    let (table, column) = (place.table, place.column);
    let (set, read) = match column.strip_prefix("settings.") {
        Some(key) => {
            (format!("settings = settings || jsonb_build_object('{key}', $2::text)"), format!("settings ->> '{key}'"))
        }
        None => (format!("{column} = $2"), column.to_owned()),
    };
    let sql = format!("update {table} set {set} where id::text = $1 and ($3::text is null or {read} = $3)");
    let (text, instead_of) = (Hidden(text), instead_of.map(Hidden));
    Ok(client.execute(&sql, &[&place.row, &text, &instead_of]).await? == 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::destination::sealed;

    #[test]
    fn whatever_is_opened_where_a_row_is_read_can_be_set_by_command() {
        let mut known: Vec<&str> = Owner::Webhook.columns().to_vec();
        known.sort_unstable();

        let mut opened: Vec<&str> = sealed::COLUMNS.into_iter().chain(sealed::SETTINGS).collect();
        opened.sort_unstable();
        assert_eq!(known, opened);
        assert!(Owner::Publisher.columns().iter().all(|column| opened.contains(column)));
    }
}
