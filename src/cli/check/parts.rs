//! Lets no part of the check wait for longer than it may. In: the database, a deadline for all, and the parts, one after the other. Out: what
//! each part found, or a fault that says what it still waits for. A part that is cut short leaves no statement behind in the queue for a lock,
//! where everybody who comes after it would have to wait as well.

use std::time::Duration;

use tokio::time::Instant;
use tokio::time::timeout;
use tokio::time::timeout_at;
use tokio_postgres::Client;

use crate::cli::check::report::CheckReport;
use crate::cli::check::report::Finding;
use crate::database::Database;

/// One connection of the check, which is replaced when a part had to be cut short.
pub(super) struct Parts<'d> {
    database: &'d Database,
    client: Option<(Client, i32)>,
    deadline: Instant,
}

/// How long it may take to find out what a part waits for.
const EXPLANATION: Duration = Duration::from_millis(300);

/// What a session waits for: the lock of a table, and who holds it.
const WAITS_FOR: &str = "
    select concat_ws(' ', 'the lock of', coalesce(l.relation::regclass::text, l.locktype), 'which process', holder.pid::text, 'of role',
                     holder.usename::text, 'holds', 'since ' || holder.xact_start::timestamptz(0)::text)
    from pg_locks l cross join lateral (select unnest(pg_blocking_pids(l.pid)) limit 1) blocking (pid)
    join pg_stat_activity holder on holder.pid = blocking.pid
    where l.pid = $1 and not l.granted limit 1";

impl<'d> Parts<'d> {
    pub(super) fn new(database: &'d Database, deadline: Instant) -> Parts<'d> {
        Parts { database, client: None, deadline }
    }

    /// Gives the parts that are left so much more time.
    pub(super) fn extend(&mut self, time: Duration) {
        self.deadline += time;
    }

    /// Runs one part, for so long at most. Returns nothing if it was cut short, or if the database could not be reached.
    pub(super) async fn run<T>(
        &mut self,
        area: &'static str,
        patience: Duration,
        report: &mut CheckReport,
        part: impl AsyncFnOnce(&mut Client, &mut CheckReport) -> T,
    ) -> Option<T> {
        let end = Instant::now().checked_add(patience).map_or(self.deadline, |end| end.min(self.deadline));
        let (mut client, process) = match timeout_at(self.deadline, self.connected()).await {
            Ok(Ok(connected)) => connected,
            Ok(Err(error)) => {
                report.fault(area, format!("not looked at: {error:#}"));
                return None;
            }
            Err(_) => {
                report.fault(area, "not looked at, because no time was left: the database does not answer");
                return None;
            }
        };
        let began = Instant::now();
        match timeout_at(end, part(&mut client, report)).await {
            Ok(found) => {
                self.client = Some((client, process));
                Some(found)
            }
            Err(_) => {
                let waited = began.elapsed().as_secs_f64();
                let reason = self.end(process).await.unwrap_or("the answer of the database".to_owned());
                let message = format!("no answer within {waited:.1} s: it still waits for {reason}");
                report.add(Finding::fault(area, message).cure("end that session, or give more time with --timeout"));
                None
            }
        }
    }

    async fn connected(&mut self) -> anyhow::Result<(Client, i32)> {
        if let Some((client, process)) = self.client.take().filter(|(client, _)| !client.is_closed()) {
            return Ok((client, process));
        }
        let client = self.database.connect().await?;
        let process = client.query_one("select pg_backend_pid()", &[]).await?.get(0);
        Ok((client, process))
    }

    /// Ends what the session of a part that was cut short is doing. Returns what it waited for, if that can be found out.
    async fn end(&self, process: i32) -> Option<String> {
        let ending = async {
            let client = self.database.connect().await.ok()?;
            let reason = client.query_opt(WAITS_FOR, &[&process]).await.ok().flatten();
            client.execute("select pg_cancel_backend($1)", &[&process]).await.ok()?;
            reason.map(|row| row.get::<_, String>(0))
        };
        timeout(EXPLANATION, ending).await.ok().flatten()
    }
}
