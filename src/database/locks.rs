//! The advisory locks of Andon. An advisory lock is only a number, so anyone who picks one must see all of them. They are all listed here,
//! including the one that functions of the schema take. A test compares this table with the migrations. Anybody who may connect can
//! take such a lock, so that no wait for one is endless, nothing that has to be done depends on one (see `turns`), and whoever holds one without
//! the rights of a daemon is named.

use std::fmt;
use std::time::Duration;

use tokio::time::Instant;
use tokio_postgres::Client;
use tokio_postgres::Error;

/// The first key of every lock, so that none collides with a lock of the plant's own: "Ando" in ASCII.
const KEY: i32 = 1_097_753_711;
/// How soon a lock that was taken is asked for again.
const PAUSE: Duration = Duration::from_millis(100);

/// The things that can be locked. The number is the second key of the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lock {
    /// Taken exclusively by a tail that sleeps, and shared by each writer that finds nobody asleep: see `src/log/wakeup`. In SQL,
    /// `andon.ring()` and the generated capture functions take it.
    Bell = 1,
    /// Held by the one daemon whose tail rings for all daemons of the database.
    LeadingTail = 2,
    /// Held by `andon migrate`, so that two of them take turns.
    Migrate = 3,
}

impl Lock {
    /// Waits until no other session holds the lock, but for so long at most. This session keeps it until it releases it or ends. Returns
    /// who holds it if it did not get it.
    pub async fn acquire(self, client: &Client, longest: Duration) -> Result<Result<(), String>, Error> {
        let end = Instant::now() + longest;
        while !self.try_acquire(client).await? {
            if Instant::now() >= end {
                let holder = client.query_opt(&format!("{HOLDERS} and objid = {} limit 1", self as i32), &[]).await?;
                return Ok(Err(holder.map_or_else(|| "another session".to_owned(), |row| row.get(0))));
            }
            tokio::time::sleep(PAUSE).await;
        }
        Ok(Ok(()))
    }

    /// Takes the lock for this session if no other session holds it, and returns whether it did.
    pub async fn try_acquire(self, client: &Client) -> Result<bool, Error> {
        let row = client.query_one(&format!("select pg_try_advisory_lock({self})"), &[]).await?;
        Ok(row.get(0))
    }

    /// Gives the lock back that this session has acquired.
    pub async fn release(self, client: &Client) -> Result<(), Error> {
        client.execute(&format!("select pg_advisory_unlock({self})"), &[]).await?;
        Ok(())
    }
}

/// The sessions that hold a lock of Andon's.
const HOLDERS: &str = "select format('process %s of role %s (%s)', pid, usename, application_name)
    from pg_locks join pg_stat_activity using (pid)
    where locktype = 'advisory' and classid = 1097753711 and objsubid = 2 and granted and datname = current_database()";

/// Names the sessions that hold a lock of Andon's without the rights of a daemon. A writer of the plant shares the bell's lock until it
/// commits. Each is named once, however many locks it holds.
pub async fn strangers(client: &Client) -> Result<Vec<String>, Error> {
    let rightless = "and (mode = 'ExclusiveLock' or objid <> 1) and not has_table_privilege(usesysid, (
        select c.oid from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where n.nspname = 'andon' and c.relname = 'daemons'), 'insert')";
    let rows = client.query(&format!("{HOLDERS} {rightless} group by 1 order by 1"), &[]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Both keys, as PostgreSQL's functions for advisory locks take them.
impl fmt::Display for Lock {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{KEY}, {}", *self as i32)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn the_bell_is_the_only_lock_that_functions_of_the_schema_take() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
        let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
        files.sort_unstable();
        // What a later migration replaces takes no lock any more.
        let mut taken: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for file in files {
            let text = fs::read_to_string(file).unwrap();
            let (mut function, mut locks) = (String::new(), 0);
            for line in text.lines() {
                let made = line.strip_prefix("create ").map(|rest| rest.trim_start_matches("or replace "));
                if let Some(name) = made.and_then(|rest| rest.strip_prefix("function andon.")) {
                    name.split('(').next().unwrap().clone_into(&mut function);
                    taken.remove(&function);
                }
                for keys in line.split("advisory_").skip(1).filter_map(|call| call.split(['(', ')']).nth(1)) {
                    taken.entry(function.clone()).or_default().push(keys.to_owned());
                    locks += 1;
                }
            }
            assert_eq!(
                locks,
                text.matches(&KEY.to_string()).count(),
                "a lock is taken in a way that this test does not read"
            );
        }

        assert_eq!(taken, BTreeMap::from([("ring".to_owned(), vec![Lock::Bell.to_string()])]));
    }
}
