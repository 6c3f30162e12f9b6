//! Which destinations' lanes a daemon serves. In: the daemon, and the database. Out: their numbers, if the database says so. It is asked
//! for the allowance of duplicates only: what is missing or out of order is judged without a word of the gateway's.

use std::time::Duration;

use tokio::time::timeout;

use crate::chaos::destinations;
use crate::chaos::line;
use crate::stage::connect;

/// A fault does not wait for longer.
const PATIENCE: Duration = Duration::from_millis(300);

/// None: nobody knows.
pub(super) async fn by(daemon: Option<usize>, database: &str) -> Option<Vec<usize>> {
    let name = line::name(daemon?);
    let asked = async {
        let client = connect(database).await?;
        let statement = "select l.name from andon.lanes l join andon.daemons d using (daemon) where d.name = $1";
        anyhow::Ok(client.query(statement, &[&name]).await?)
    };
    let rows = timeout(PATIENCE, asked).await.ok()?.ok()?;
    // A publisher's lane is called as the publisher, and a webhook's after its URL.
    let label =
        |name: &str| name.rsplit('/').next().and_then(|last| last.split('?').next()).unwrap_or_default().to_owned();
    Some(rows.iter().filter_map(|row| destinations::destination_of(&label(row.get(0)))).collect())
}
