//! The rotation of a webhook's secret. In: its row, and a new secret. Out: a row in which the new one signs, and the one before until a time of the
//! database's clock. It replaces only the secret that was read, so that of two rotations at once one is refused.

use std::time::Duration;

use tokio_postgres::GenericClient;

use crate::sealing;
use crate::sealing::Keys;
use crate::sealing::Place;
use crate::sealing::SealProblem;
use crate::secret::Secret;
use crate::secrets::hidden::Hidden;
use crate::secrets::rows::FoundRow;

/// What a webhook signs with, as it stands in its row.
#[derive(Debug, Clone)]
pub struct Signing {
    text: Option<Secret>,
    /// Until when the secret before signs, if it still does.
    pub overlaps_until: Option<String>,
}

/// Reads what a webhook signs with; nothing if the row is gone.
pub async fn signing(client: &impl GenericClient, row: &FoundRow) -> Result<Option<Signing>, tokio_postgres::Error> {
    let sql = "select secret_key, case when previous_secret_until > now() then to_char(previous_secret_until at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS UTC') end
        from andon.webhooks where id::text = $1";
    let found = client.query_opt(sql, &[&row.id]).await?;
    Ok(found.map(|row| Signing { text: row.get::<_, Option<String>>(0).map(Secret::new), overlaps_until: row.get(1) }))
}

impl Signing {
    /// Opens the secret; there is none if the column is empty.
    pub fn secret(&self, row: &FoundRow, keys: &Keys) -> Result<Option<Secret>, SealProblem> {
        let Some(text) = self.text.as_ref().filter(|text| !text.expose().trim().is_empty()) else { return Ok(None) };
        match sealing::is_sealed(text.expose()) {
            true => keys.open(text.expose(), place(row, "secret_key")).map(Some),
            false => Ok(Some(text.clone())),
        }
    }
}

/// Writes the new secret, and the one before with its end, both sealed if there is a key. Returns the end, or nothing if the row is not as it was
/// read.
pub async fn rotate(
    client: &impl GenericClient,
    row: &FoundRow,
    read: &Signing,
    before: Option<&Secret>,
    new: &Secret,
    overlap: Duration,
    keys: &Keys,
) -> Result<Option<String>, tokio_postgres::Error> {
    let stored =
        |secret: &Secret, column| keys.seal(secret, place(row, column)).unwrap_or_else(|| secret.expose().to_owned());
    let new = stored(new, "secret_key");
    let before = before.map(|before| stored(before, "previous_secret_key"));
    let (new, before) = (Hidden(&new), before.as_deref().map(Hidden));
    let text = read.text.as_ref().map(|text| Hidden(text.expose()));
    let sql = "update andon.webhooks set secret_key = $2, previous_secret_key = $3,
            previous_secret_until = case when $3::text is not null then now() + make_interval(secs => $4) end
        where id::text = $1 and secret_key is not distinct from $5 and coalesce(previous_secret_until <= now(), true)
        returning to_char(coalesce(previous_secret_until, now()) at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS UTC')";
    let written = client.query_opt(sql, &[&row.id, &new, &before, &overlap.as_secs_f64(), &text]).await?;
    Ok(written.map(|row| row.get(0)))
}

fn place<'a>(row: &'a FoundRow, column: &'a str) -> Place<'a> {
    Place { table: "andon.webhooks", row: &row.id, column }
}
