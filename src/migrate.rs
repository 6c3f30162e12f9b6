//! Brings schema `andon` to the version of this binary. In: a connection as the schema's owner. Out: the names of the migrations that
//! were applied. It never goes backwards, and never touches anything outside schema `andon`.

use sha2::Digest;
use sha2::Sha256;
use tokio_postgres::Client;

/// In order; the version is the place in this list, starting at one.
const MIGRATIONS: &[(&str, &str)] = &[
    ("0001_andon", include_str!("../migrations/0001_andon.sql")),
    ("0002_capture", include_str!("../migrations/0002_capture.sql")),
    ("0003_daemons", include_str!("../migrations/0003_daemons.sql")),
    ("0004_ledger", include_str!("../migrations/0004_ledger.sql")),
    ("0005_retention", include_str!("../migrations/0005_retention.sql")),
    ("0006_lanes", include_str!("../migrations/0006_lanes.sql")),
    ("0007_replays", include_str!("../migrations/0007_replays.sql")),
    ("0008_predicates_and_notifications", include_str!("../migrations/0008_predicates_and_notifications.sql")),
];

/// `xid8`, `int8multirange` and `create or replace trigger` came with 14.
const OLDEST_SERVER: i32 = 140_000;

/// Why the schema could not be brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// The server is older than what the log's tables need.
    #[error("PostgreSQL {0} is too old: Andon needs 14 or later; upgrade the server")]
    OldServer(String),
    /// A migration that ran here is not the one this binary carries.
    #[error(
        "migration {0} was edited after it had been applied here; restore the file and put the change into a new migration"
    )]
    Edited(String),
    /// Another, newer Andon was here.
    #[error("the database is at migration {found}, this andon knows {known}; run an andon that is at least as new")]
    Newer {
        /// The version of the database.
        found: i32,
        /// The version of the binary.
        known: i32,
    },
    /// One migration failed; the ones before it stay applied.
    #[error("cannot apply migration {name}; nothing of it was kept")]
    Apply {
        /// Which one.
        name: &'static str,
        /// What PostgreSQL said.
        #[source]
        source: tokio_postgres::Error,
    },
    /// The state of the schema could not be read.
    #[error("cannot read or prepare table andon.migrations; run `andon migrate` as the owner of the database")]
    Bookkeeping(#[source] tokio_postgres::Error),
}

/// Applies what is missing, each migration in its own transaction, and returns the names. Two at once take turns.
pub async fn migrate(client: &mut Client) -> Result<Vec<String>, MigrateError> {
    refuse_old_server(client).await?;
    client.execute("select pg_advisory_lock(1097753711, 3)", &[]).await.map_err(MigrateError::Bookkeeping)?;
    let outcome = apply_missing(client).await;
    // A session that is gone has released the lock by itself, so a failure here adds nothing to the outcome.
    let unlocked = client.execute("select pg_advisory_unlock(1097753711, 3)", &[]).await;
    let applied = outcome?;
    unlocked.map_err(MigrateError::Bookkeeping)?;
    Ok(applied)
}

/// The names of the migrations that this binary has and the database has not. Refuses what `migrate` would refuse.
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
    transaction.batch_execute(sql).await?;
    transaction
        .execute(
            "insert into andon.migrations (version, name, checksum) values ($1, $2, $3)",
            &[&version, &name, &checksum(sql)],
        )
        .await?;
    transaction.commit().await
}

/// How many of our migrations the database has; an error when what it has is not ours.
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

fn checksum(sql: &str) -> String {
    Sha256::digest(sql.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::{MIGRATIONS, checksum};

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
    fn the_checksum_is_sha256_in_hex() {
        assert_eq!(checksum("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
