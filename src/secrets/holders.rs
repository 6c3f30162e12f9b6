//! Which living daemons could not open what is sealed with a key. In: the leases, and the id of a key. Out: the daemons that do not hold the key,
//! or do not say. What is sealed with a key that a daemon lacks is served by the others, and misconfigured where no other lives.

use std::fmt;

use tokio_postgres::GenericClient;

/// A living daemon that cannot open what is sealed with a key, as far as is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lacking {
    /// The daemon's name.
    pub daemon: String,
    /// Its version, if it is one that does not say which keys it holds.
    silent: Option<String>,
}

/// Returns the living daemons that are not known to hold the key, by their names.
pub async fn lacking(client: &impl GenericClient, key: &str) -> Result<Vec<Lacking>, tokio_postgres::Error> {
    let sql = "select name, case when keys is null then version end from andon.daemons
        where andon.lives(lease_until) and not coalesce($1 = any (keys), false) order by name, daemon";
    let rows = client.query(sql, &[&key]).await?;
    Ok(rows.iter().map(|row| Lacking { daemon: row.get(0), silent: row.get(1) }).collect())
}

impl fmt::Display for Lacking {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.silent {
            None => write!(formatter, "daemon `{}` does not hold it", self.daemon),
            Some(version) => {
                write!(formatter, "daemon `{}` of version {version} does not say whether it holds it", self.daemon)
            }
        }
    }
}
