//! Brings schema `andon` to the version of this binary. In: a connection as the schema's owner. Out: the names of the migrations that it
//! applied. It never goes backwards, and never touches anything outside schema `andon`.

use std::time::Duration;

use sha2::Digest;
use sha2::Sha256;
use tokio_postgres::Client;

use crate::database::locks::Lock;

/// All migrations, in order. The version is the place in this list, counted from one.
const MIGRATIONS: &[(&str, &str)] = &[
    ("0001_andon", include_str!("../migrations/0001_andon.sql")),
    ("0002_capture", include_str!("../migrations/0002_capture.sql")),
    ("0003_daemons", include_str!("../migrations/0003_daemons.sql")),
    ("0004_ledger", include_str!("../migrations/0004_ledger.sql")),
    ("0005_retention", include_str!("../migrations/0005_retention.sql")),
    ("0006_lanes", include_str!("../migrations/0006_lanes.sql")),
    ("0007_replays", include_str!("../migrations/0007_replays.sql")),
    ("0008_predicates_and_notifications", include_str!("../migrations/0008_predicates_and_notifications.sql")),
    ("0009_log", include_str!("../migrations/0009_log.sql")),
    ("0010_webhook", include_str!("../migrations/0010_webhook.sql")),
    ("0011_destination", include_str!("../migrations/0011_destination.sql")),
    ("0012_session", include_str!("../migrations/0012_session.sql")),
    ("0013_shared_holes", include_str!("../migrations/0013_shared_holes.sql")),
    ("0014_deliveries_due", include_str!("../migrations/0014_deliveries_due.sql")),
    ("0015_capture_errors", include_str!("../migrations/0015_capture_errors.sql")),
    ("0016_sources", include_str!("../migrations/0016_sources.sql")),
    ("0017_webhook_name", include_str!("../migrations/0017_webhook_name.sql")),
    ("0018_failed_rows_and_counts", include_str!("../migrations/0018_failed_rows_and_counts.sql")),
    ("0019_lookup_errors", include_str!("../migrations/0019_lookup_errors.sql")),
    ("0020_least_privilege", include_str!("../migrations/0020_least_privilege.sql")),
    ("0021_emitters", include_str!("../migrations/0021_emitters.sql")),
    ("0022_shown_names", include_str!("../migrations/0022_shown_names.sql")),
    ("0023_capture_messages", include_str!("../migrations/0023_capture_messages.sql")),
    ("0024_secret_rotation", include_str!("../migrations/0024_secret_rotation.sql")),
    ("0025_notifications", include_str!("../migrations/0025_notifications.sql")),
    ("0026_credentials", include_str!("../migrations/0026_credentials.sql")),
    ("0027_empty_log", include_str!("../migrations/0027_empty_log.sql")),
    ("0028_keys", include_str!("../migrations/0028_keys.sql")),
    ("0029_drop_empty_log", include_str!("../migrations/0029_drop_empty_log.sql")),
    ("0030_stolen_run", include_str!("../migrations/0030_stolen_run.sql")),
    ("0031_turns", include_str!("../migrations/0031_turns.sql")),
    ("0032_counted_causes", include_str!("../migrations/0032_counted_causes.sql")),
    ("0033_ports", include_str!("../migrations/0033_ports.sql")),
    ("0034_row_image", include_str!("../migrations/0034_row_image.sql")),
    ("0035_little_to_forge", include_str!("../migrations/0035_little_to_forge.sql")),
    ("0036_broker_names", include_str!("../migrations/0036_broker_names.sql")),
    ("0037_no_old_fingerprints", include_str!("../migrations/0037_no_old_fingerprints.sql")),
    ("0038_advice_of_emit", include_str!("../migrations/0038_advice_of_emit.sql")),
    ("0039_rights_of_daemons", include_str!("../migrations/0039_rights_of_daemons.sql")),
];

/// `xid8`, `int8multirange` and `create or replace trigger` came with PostgreSQL 14.
const OLDEST_SERVER: i32 = 140_000;

/// How long to wait for another `andon migrate`.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Why the schema could not be brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// The server is older than what the log's tables need.
    #[error("PostgreSQL {0} is too old: Andon needs 14 or later; upgrade the server")]
    OldServer(String),
    /// A migration that was applied here is not the one that this binary carries.
    #[error(
        "migration {0} was edited after it had been applied here; restore the file and put the change into a new migration"
    )]
    Edited(String),
    /// A newer Andon has migrated this database.
    #[error("the database is at migration {found}, this andon knows {known}; run an andon that is at least as new")]
    Newer {
        /// The version of the database.
        found: i32,
        /// The version of the binary.
        known: i32,
    },
    /// Somebody holds the lock of the migrations.
    #[error("another `andon migrate` runs, or somebody has taken its lock: {0}; wait for it or end it")]
    Busy(String),
    /// A migration failed. The ones before it stay applied.
    #[error("cannot apply migration {name}; nothing of it was kept")]
    Apply {
        /// The migration that failed.
        name: &'static str,
        /// The error of PostgreSQL.
        #[source]
        source: tokio_postgres::Error,
    },
    /// The state of the schema could not be read.
    #[error("cannot read or prepare table andon.migrations; run `andon migrate` as the owner of the database")]
    Bookkeeping(#[source] tokio_postgres::Error),
}

/// Applies the migrations that are missing, each in a transaction of its own, and returns their names. Two that run at once take turns.
pub async fn migrate(client: &mut Client) -> Result<Vec<String>, MigrateError> {
    refuse_old_server(client).await?;
    let acquired = Lock::Migrate.acquire(client, LONGEST_WAIT).await.map_err(MigrateError::Bookkeeping)?;
    acquired.map_err(MigrateError::Busy)?;
    let outcome = apply_missing(client).await;
    // The outcome comes first: a session that is gone has lost the lock too, so that failing to release it adds nothing to an error.
    let released = Lock::Migrate.release(client).await;
    let applied = outcome?;
    released.map_err(MigrateError::Bookkeeping)?;
    Ok(applied)
}

/// Returns the names of the migrations that this binary has and the database does not. Fails where `migrate` would refuse the database.
pub async fn pending(client: &Client) -> Result<Vec<String>, MigrateError> {
    refuse_old_server(client).await?;
    let exists: bool = client
        .query_one("select to_regclass('andon.migrations') is not null", &[])
        .await
        .map_err(MigrateError::Bookkeeping)?
        .get(0);
    let done = if exists { applied_versions(client).await? } else { 0 };
    Ok(MIGRATIONS[done..].iter().map(|(name, _)| (*name).to_owned()).collect())
}

async fn apply_missing(client: &mut Client) -> Result<Vec<String>, MigrateError> {
    client
        .batch_execute(
            "set client_min_messages = warning;
             create schema if not exists andon;
             create table if not exists andon.migrations (
                 version    integer     primary key,
                 name       text        not null,
                 checksum   text        not null,
                 applied_at timestamptz not null default now()
             );
             reset client_min_messages",
        )
        .await
        .map_err(MigrateError::Bookkeeping)?;
    let done = applied_versions(client).await?;
    let mut applied = Vec::new();
    for (version, (name, sql)) in (1_i32..).zip(MIGRATIONS).skip(done) {
        apply(client, version, name, sql).await.map_err(|source| MigrateError::Apply { name, source })?;
        applied.push((*name).to_owned());
    }
    Ok(applied)
}

async fn apply(client: &mut Client, version: i32, name: &str, sql: &str) -> Result<(), tokio_postgres::Error> {
    let transaction = client.transaction().await?;
    transaction.batch_execute(&ascii(sql)).await?;
    transaction
        .execute(
            "insert into andon.migrations (version, name, checksum) values ($1, $2, $3)",
            &[&version, &name, &checksum(sql)],
        )
        .await?;
    transaction.commit().await
}

/// Returns how many of our migrations the database has. Fails if any that it has is not ours.
async fn applied_versions(client: &Client) -> Result<usize, MigrateError> {
    let rows = client
        .query("select version, name, checksum from andon.migrations order by version", &[])
        .await
        .map_err(MigrateError::Bookkeeping)?;
    for (place, row) in rows.iter().enumerate() {
        let Some((name, sql)) = MIGRATIONS.get(place) else {
            let known = i32::try_from(MIGRATIONS.len()).unwrap_or(i32::MAX);
            return Err(MigrateError::Newer { found: row.get(0), known });
        };
        if row.get::<_, String>(1) != *name || row.get::<_, String>(2) != checksum(sql) {
            return Err(MigrateError::Edited(row.get(1)));
        }
    }
    Ok(rows.len())
}

async fn refuse_old_server(client: &Client) -> Result<(), MigrateError> {
    let row = client
        .query_one("select current_setting('server_version_num')::int, current_setting('server_version')", &[])
        .await
        .map_err(MigrateError::Bookkeeping)?;
    if row.get::<_, i32>(0) < OLDEST_SERVER { Err(MigrateError::OldServer(row.get(1))) } else { Ok(()) }
}

/// Returns the text as every encoding of a database can hold it. Only comments have other characters, which an early migration shows, and
/// they say the same without them.
fn ascii(sql: &str) -> String {
    sql.chars().map(|character| if character.is_ascii() { character } else { '?' }).collect()
}

fn checksum(sql: &str) -> String {
    Sha256::digest(sql.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::{MIGRATIONS, ascii, checksum};

    #[test]
    fn migrations_are_numbered_without_gaps() {
        for (place, (name, _)) in MIGRATIONS.iter().enumerate() {
            assert!(name.starts_with(&format!("{:04}_", place + 1)), "{name} stands at place {}", place + 1);
        }
    }

    #[test]
    fn every_migration_file_is_embedded() {
        let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations")).unwrap().count();

        assert_eq!(files, MIGRATIONS.len());
    }

    #[test]
    fn every_encoding_of_a_database_can_hold_the_migrations() {
        // This one was applied with an ellipsis in a comment before there was this rule, and its checksum forbids to edit it.
        let is_old = |name: &str| name == "0001_andon";
        for (name, sql) in MIGRATIONS {
            let other = sql.lines().filter(|line| !line.is_ascii());
            let wrong: Vec<_> = other.filter(|line| !is_old(name) || !line.starts_with("--")).collect();
            assert!(wrong.is_empty(), "{name}: write in ASCII: {wrong:?}");
            assert!(ascii(sql).is_ascii() && ascii(sql).chars().count() == sql.chars().count());
        }
    }

    #[test]
    fn the_checksum_is_sha256_in_hex() {
        assert_eq!(checksum("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
