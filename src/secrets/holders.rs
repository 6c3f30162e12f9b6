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

impl Lacking {
    /// Returns what follows for the rows that are sealed with the key.
    pub fn consequence(&self) -> &'static str {
        match self.silent {
            None => "it cannot serve their rows",
            Some(_) => "it may serve their rows or not",
        }
    }

    /// Returns what to do where the daemon runs.
    pub fn cure(&self) -> &'static str {
        match self.silent {
            None => "name the key in secrets.keys there, and start the daemon again",
            Some(_) => "start this program there instead, with the key in secrets.keys",
        }
    }
}

impl fmt::Display for Lacking {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.silent {
            None => write!(formatter, "daemon `{}` does not hold it", self.daemon),
            Some(version) => {
                let daemon = &self.daemon;
                write!(
                    formatter,
                    "daemon `{daemon}` runs an older program ({version}), which does not say whether it holds it"
                )
            }
        }
    }
}
