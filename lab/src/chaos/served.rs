//! Finds out which destinations a daemon serves. In: the daemon and the database. Out: the numbers of the destinations, if the database can
//! say. Only the allowance for duplicates uses it: what is missing or out of order is judged without asking the gateway.

use std::time::Duration;

use tokio::time::timeout;

use crate::chaos::destinations;
use crate::chaos::line;
use crate::stage::connect;

/// How long a fault waits for the answer.
const PATIENCE: Duration = Duration::from_millis(300);

/// Returns `None` if the fault befalls no single daemon, or if the database does not answer in time.
pub(super) async fn by(daemon: Option<usize>, database: &str) -> Option<Vec<usize>> {
    let name = line::name(daemon?);
    let asked = async {
        let client = connect(database).await?;
        let statement = "select l.name from andon.lanes l join andon.daemons d using (daemon) where d.name = $1";
        anyhow::Ok(client.query(statement, &[&name]).await?)
    };
    let rows = timeout(PATIENCE, asked).await.ok()?.ok()?;
    // A publisher's lane has the name of the publisher, and a webhook's lane has its URL.
    let label =
        |name: &str| name.rsplit('/').next().and_then(|last| last.split('?').next()).unwrap_or_default().to_owned();
    Some(rows.iter().filter_map(|row| destinations::destination_of(&label(row.get(0)))).collect())
}
