//! Lets no part of the check wait for longer than it may. In: the database, a deadline for all, and the parts, one after the other. Out: what
//! each part found, or a fault that says what it still waits for. A part that is cut short leaves no statement behind in the queue for a lock,
//! where everybody who comes after it would have to wait as well.

use std::pin::pin;
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
    /// How many times as long as usually each part may take, because somebody has given more time.
    generosity: u32,
}

/// The time for everything where nobody gives another.
const USUAL: Duration = Duration::from_secs(5);

/// How long it may take to find out what a part waits for.
const EXPLANATION: Duration = Duration::from_millis(300);

/// How long it may take to end what a part is doing.
const CANCEL: Duration = Duration::from_millis(100);
/// So long after the deadline, the database itself ends what still waits for a lock: the check may have been killed, or have had no time to ask
/// for that on a machine that is busy.
const LEFT_BEHIND: Duration = Duration::from_secs(1);
/// How soon it is asked again whether a part that works on waits for anybody.
const LOOK: Duration = Duration::from_secs(1);

/// What a session waits for: the lock of a table, and who holds it.
const WAITS_FOR: &str = "
    select concat_ws(' ', 'the lock of', coalesce(l.relation::regclass::text, l.locktype), 'which process', holder.pid::text, 'of role',
                     holder.usename::text, 'holds', 'since ' || holder.xact_start::timestamptz(0)::text)
    from pg_locks l cross join lateral (select unnest(pg_blocking_pids(l.pid)) limit 1) blocking (pid)
    join pg_stat_activity holder on holder.pid = blocking.pid
    where l.pid = $1 and not l.granted limit 1";

impl<'d> Parts<'d> {
    pub(super) fn new(database: &'d Database, deadline: Instant) -> Parts<'d> {
        let usual = deadline.saturating_duration_since(Instant::now()).as_secs() / USUAL.as_secs();
        Parts { database, client: None, deadline, generosity: u32::try_from(usual).unwrap_or(u32::MAX).max(1) }
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
        let patience = patience.saturating_mul(self.generosity);
        let end = Instant::now().checked_add(patience).map_or(self.deadline, |end| end.min(self.deadline));
        self.run_until(area, end, false, report, part).await
    }

    /// Runs one part until the deadline, and beyond it for as long as the database works for it and waits for nobody.
    pub(super) async fn run_while_it_works<T>(
        &mut self,
        area: &'static str,
        report: &mut CheckReport,
        part: impl AsyncFnOnce(&mut Client, &mut CheckReport) -> T,
    ) -> Option<T> {
        self.run_until(area, self.deadline, true, report, part).await
    }

    async fn run_until<T>(
        &mut self,
        area: &'static str,
        mut end: Instant,
        may_work_on: bool,
        report: &mut CheckReport,
        part: impl AsyncFnOnce(&mut Client, &mut CheckReport) -> T,
    ) -> Option<T> {
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
        let outcome = {
            let mut running = pin!(part(&mut client, report));
            loop {
                if let Ok(found) = timeout_at(end, running.as_mut()).await {
                    break Ok(found);
                }
                match self.asked(process).await {
                    Some((_, None)) if may_work_on => end = Instant::now() + LOOK,
                    asked => break Err(asked),
                }
            }
        };
        let asked = match outcome {
            Ok(found) => {
                self.client = Some((client, process));
                return Some(found);
            }
            Err(asked) => asked,
        };
        let waited = began.elapsed().as_secs_f64();
        let mut reason = None;
        if let Some((beside, waits_for)) = asked {
            reason = waits_for;
            // What the session is doing ends.
            drop(timeout(CANCEL, beside.execute("select pg_cancel_backend($1)", &[&process])).await);
        }
        let reason = reason.unwrap_or("the answer of the database".to_owned());
        let message = format!("no answer within {waited:.1} s: it still waits for {reason}");
        report.add(Finding::fault(area, message).cure("end that session, or give more time with --timeout"));
        None
    }

    async fn connected(&mut self) -> anyhow::Result<(Client, i32)> {
        if let Some((client, process)) = self.client.take().filter(|(client, _)| !client.is_closed()) {
            return Ok((client, process));
        }
        let client = self.database.connect().await?;
        let limit = self.deadline.saturating_duration_since(Instant::now()).saturating_add(LEFT_BEHIND).as_millis();
        let limit = i32::try_from(limit).unwrap_or(i32::MAX);
        let sql = format!("select pg_backend_pid() from set_config('lock_timeout', '{limit}', false)");
        let process = client.query_one(&sql, &[]).await?.get(0);
        Ok((client, process))
    }

    /// Asks on another connection what the session of a part waits for, if it waits for anybody. Returns the connection as well.
    async fn asked(&self, process: i32) -> Option<(Client, Option<String>)> {
        let asking = async {
            let client = self.database.connect().await.ok()?;
            let reason = client.query_opt(WAITS_FOR, &[&process]).await.ok()?;
            Some((client, reason.map(|row| row.get(0))))
        };
        timeout(EXPLANATION, asking).await.ok().flatten()
    }
}
