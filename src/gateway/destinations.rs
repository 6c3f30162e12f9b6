//! Reads the destinations. In: the destinations' tables, Andon's own and those of the attached sources, and the replays that run. Out:
//! every active row, read and checked, and once more for each replay of it; the rows that are switched off; and the tables that cannot be
//! read, with the reason. It never writes, it never skips a row that cannot be used, and one table's trouble is not another's.

use std::collections::HashMap;
use std::collections::HashSet;
use std::collections::hash_map::Entry;
use std::pin::pin;

use anyhow::Context as _;
use futures_util::TryStreamExt as _;
use tokio_postgres::GenericClient;

use crate::destination;
use crate::destination::Defaults;
use crate::destination::DestinationKind;
use crate::destination::DestinationRow;
use crate::destination::LaneName;
use crate::destination::Listed;
use crate::destination::Replay;
use crate::destination::TableRow;
use crate::gateway::broker_names;
use crate::gateway::broker_names::holders;
use crate::gateway::broker_names::holders::Holders;
use crate::gateway::table_error;
use crate::gateway::table_shape::TableShape;
use crate::ledger::replays;
use crate::legible;
use crate::payload::Format;

/// What the tables of destinations say.
#[derive(Debug, Default)]
pub struct Listing {
    /// The rows that are to be served, or whose state is to say why they cannot be.
    pub active: Vec<DestinationRow>,
    /// The lanes of the rows that are switched off.
    pub inactive: HashSet<LaneName>,
    /// The tables that could not be read, or not to their end. Nobody knows what else they hold, so the lanes of other rows stay as they are.
    pub unread: Vec<UnreadTable>,
    /// Who has which name at a broker, as it is stored and as it is to be.
    pub names: (Holders, Holders),
}

/// A table of destinations that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadTable {
    /// Its name, as the lanes' names begin.
    pub table: String,
    /// Why, and what to do.
    pub reason: String,
    /// The lanes of the rows that were read before that.
    pub known: HashSet<LaneName>,
}

/// Where destinations stand.
struct Table {
    kind: DestinationKind,
    name: String,
    profile: String,
}

/// For how long a table may be locked by others, and how long reading it may take. Row-level security is switched off for the reading, which
/// makes PostgreSQL refuse what it would otherwise hide: a row that is hidden would look like one that was removed.
const BOUNDS: &str =
    "set local lock_timeout = '200ms'; set local statement_timeout = '5s'; set local row_security = off";
/// Why a row is not read.
const TOO_LARGE: &str = "the row is larger than 64 KiB; shorten its texts";

/// Lists all lanes that should exist: one for each destination, and one for each replay.
pub(super) async fn lanes(client: &mut impl GenericClient, defaults: &Defaults) -> anyhow::Result<Listing> {
    let replays = replays::running(client).await.context("cannot read the replays")?;
    read(client, defaults, &replays).await
}

/// Reads all rows of all destination tables.
pub async fn list(client: &mut impl GenericClient, defaults: &Defaults) -> anyhow::Result<Listing> {
    read(client, defaults, &[]).await
}

async fn read(
    client: &mut impl GenericClient,
    defaults: &Defaults,
    replays: &[(LaneName, Replay)],
) -> anyhow::Result<Listing> {
    let mut listing = Listing::default();
    for table in tables(client).await.context("cannot read andon.sources")? {
        // A transaction of its own, or a savepoint in the caller's. It only reads, so it is always rolled back, which gives back the
        // locks on the plant's tables and the bounds.
        let reading = client.transaction().await?;
        let mut of_table = Listing::default();
        let read = read_table(&reading, &table, &mut of_table, defaults, replays).await;
        reading.rollback().await?;
        if let Err(error) = read {
            if !table_error::is_of_the_table(&error) {
                return Err(error);
            }
            let mut reason = table_error::explain(&table.name, &error);
            if table_error::takes_too_long(&error)
                && let Some(tenant) = largest_tenant(client, &table).await?
            {
                // No figures, which would make it a new reason with each change of a row.
                reason += &format!(
                    ": the rows of tenant `{}` are the largest together, so shorten or delete some of them",
                    legible::line(tenant)
                );
            }
            listing.unread.push(UnreadTable { table: table.name, reason, known: of_table.lanes() });
        }
        listing.extend(of_table);
    }
    listing.refuse_twins();
    let held = holders::read(client).await.context("cannot read andon.broker_names")?;
    let unread = std::mem::take(&mut listing.unread);
    let names = broker_names::give(&mut listing.active, &held, |lane| unread.iter().any(|it| it.may_hold(lane)));
    (listing.names, listing.unread) = ((held, names), unread);
    Ok(listing)
}

/// Returns the tables, each of them once: several sources may share one.
async fn tables(client: &impl GenericClient) -> Result<Vec<Table>, tokio_postgres::Error> {
    let rows = client
        .query(
            "select distinct on (name) kind, name, profile from (
                select 0, 'mqtt', 'andon.mqtt_publishers', 'andon' union all select 0, 'webhook', 'andon.webhooks', 'andon'
                union all select 1, 'mqtt', mqtt_publishers, profile from andon.sources where mqtt_publishers is not null
                union all select 1, 'webhook', webhooks, profile from andon.sources where webhooks is not null
            ) named (place, kind, name, profile) order by name, place, kind, profile",
            &[],
        )
        .await?;
    let table = |row: &tokio_postgres::Row| {
        let kind = if row.get::<_, &str>(0) == "mqtt" { DestinationKind::Mqtt } else { DestinationKind::Webhook };
        Table { kind, name: row.get(1), profile: row.get(2) }
    };
    Ok(rows.iter().map(table).collect())
}

/// Returns the tenant with the largest rows, if it can be told.
async fn largest_tenant(
    client: &mut impl GenericClient,
    table: &Table,
) -> Result<Option<String>, tokio_postgres::Error> {
    let reading = client.transaction().await?;
    let look = async {
        reading.batch_execute(BOUNDS).await?;
        let shape = TableShape::look_up(&reading, &table.name).await?;
        anyhow::Ok(reading.query_opt(&shape.largest_tenant(), &[]).await?.map(|row| row.get(0)))
    };
    let tenant = look.await.ok().flatten();
    reading.rollback().await?;
    Ok(tenant)
}

/// Reads one row after the other, so that no more than one is in memory as text, and so that others have their turns meanwhile.
async fn read_table(
    client: &impl GenericClient,
    table: &Table,
    listing: &mut Listing,
    defaults: &Defaults,
    replays: &[(LaneName, Replay)],
) -> anyhow::Result<()> {
    client.batch_execute(BOUNDS).await?;
    let shape = TableShape::look_up(client, &table.name).await?;
    let Some(profile) = Format::parse(&table.profile) else {
        return Err(table_error::UnknownProfile(table.profile.clone()).into());
    };
    let rows = client.query_raw(&shape.rows(), std::iter::empty::<&str>()).await?;
    let mut rows = pin!(rows);
    while let Some(row) = rows.try_next().await? {
        let (key, text): (&str, Option<&str>) = (row.try_get(0)?, row.try_get(1)?);
        let json = text.ok_or(TOO_LARGE);
        listing.add(table.kind, &table.name, profile, TableRow { key, json }, defaults, replays);
    }
    Ok(())
}

impl Listing {
    fn add(
        &mut self,
        kind: DestinationKind,
        table: &str,
        profile: Format,
        row: TableRow<'_>,
        defaults: &Defaults,
        replays: &[(LaneName, Replay)],
    ) {
        let read = || destination::read(kind, table, profile, row, defaults);
        match read() {
            Listed::Inactive(lane) => drop(self.inactive.insert(lane)),
            Listed::Active(live) => {
                for (_, replay) in replays.iter().filter(|(lane, _)| *lane == live.lane) {
                    if let Listed::Active(again) = read() {
                        self.active.push(again.for_replay(replay.clone()));
                    }
                }
                self.active.push(*live);
            }
        }
    }

    /// Returns the lanes of all destinations that were read.
    fn lanes(&self) -> HashSet<LaneName> {
        let active = self.active.iter().filter(|listed| listed.replay.is_none()).map(|listed| &listed.lane);
        active.chain(&self.inactive).cloned().collect()
    }

    fn extend(&mut self, other: Listing) {
        self.active.extend(other.active);
        self.inactive.extend(other.inactive);
    }

    /// Of several rows with one key none is served: nobody could say which of them the lane is.
    fn refuse_twins(&mut self) {
        let mut first: HashMap<LaneName, usize> = HashMap::new();
        let mut kept: Vec<DestinationRow> = Vec::with_capacity(self.active.len());
        for listed in self.active.drain(..) {
            match first.entry(listed.lane.clone()) {
                Entry::Vacant(entry) => {
                    entry.insert(kept.len());
                    kept.push(listed);
                }
                Entry::Occupied(entry) => {
                    let twin = &mut kept[*entry.get()];
                    twin.usable = Err(vec![format!("several rows have the key of `{}`; give each its own", twin.lane)]);
                    twin.fingerprint = "several".to_owned();
                    twin.keys.clear();
                }
            }
        }
        self.active = kept;
    }

    /// Returns whether nobody knows what the lane's row says, because its table could not be read.
    pub fn is_unread(&self, lane: &LaneName) -> bool {
        self.unread.iter().any(|unread| unread.may_hold(lane))
    }
}

impl UnreadTable {
    /// Returns whether the lane's row may be among those that were not read.
    pub fn may_hold(&self, lane: &LaneName) -> bool {
        lane.is_of_table(&self.table) && !self.known.contains(&lane.of_destination())
    }
}
