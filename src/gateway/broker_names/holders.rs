//! Who has which name at a broker, as the database keeps it. Only what has changed is written, within the turn in which the destinations are
//! listed, so that no two daemons give one name to two lanes.

use std::collections::BTreeMap;

use tokio_postgres::Error;
use tokio_postgres::GenericClient;

use crate::destination::LaneName;

/// The lanes that have a name at a broker, by this name.
pub(crate) type Holders = BTreeMap<String, LaneName>;

/// Reads who has which name.
pub(in crate::gateway) async fn read(client: &impl GenericClient) -> Result<Holders, Error> {
    let rows = client.query("select name, lane from andon.broker_names", &[]).await?;
    Ok(rows.iter().map(|row| (row.get(0), LaneName(row.get(1)))).collect())
}

/// Writes who has which name now, where it was so `before`.
pub(in crate::gateway) async fn write(
    client: &impl GenericClient,
    before: &Holders,
    now: &Holders,
) -> Result<(), Error> {
    let free: Vec<&str> = before.keys().filter(|name| !now.contains_key(*name)).map(String::as_str).collect();
    if !free.is_empty() {
        client.execute("delete from andon.broker_names where name = any ($1)", &[&free]).await?;
    }
    let given = now.iter().filter(|(name, lane)| before.get(*name) != Some(*lane));
    let (names, lanes): (Vec<&str>, Vec<&str>) = given.map(|(name, lane)| (name.as_str(), lane.0.as_str())).unzip();
    if !names.is_empty() {
        let sql = "insert into andon.broker_names (name, lane) select * from unnest($1::text[], $2::text[])
            on conflict (name) do update set lane = excluded.lane";
        client.execute(sql, &[&names, &lanes]).await?;
    }
    Ok(())
}
