//! The part of the check that looks for a living daemon. In: the leases. Out: a fault if nobody delivers although somebody has, and a warning
//! if nobody ever has, as on the day on which a database is attached. It only reads.

use tokio_postgres::Client;
use tokio_postgres::Error;

use crate::cli::check::report::CheckReport;
use crate::cli::check::report::Finding;
use crate::cli::check::report::Grade;

/// Who delivers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Daemons {
    /// The names of those that hold a lease.
    pub(super) living: Vec<String>,
    /// Whether there has been any.
    pub(super) has_run: bool,
    /// Until when the last lease lasted, or else when the log was last followed.
    since: Option<String>,
    /// The events that nobody has read since.
    unread: i64,
}

/// How many events are counted, at most.
const COUNTED: i64 = 100_000;

pub(super) async fn read(client: &Client) -> Result<Daemons, Error> {
    let row = client
        .query_one(
            "select array(select name from andon.daemons where andon.lives(lease_until) order by name),
                exists (select from andon.daemons) or exists (select from andon.lanes) or position > 0,
                to_char(coalesce((select max(lease_until) from andon.daemons), seen_at), 'YYYY-MM-DD HH24:MI:SS\"Z\"'),
                (select count(*) from (select from andon.events where id > tail.position limit $1) unread)
            from andon.tail",
            &[&COUNTED],
        )
        .await?;
    Ok(Daemons { living: row.get(0), has_run: row.get(1), since: row.get(2), unread: row.get(3) })
}

/// Reports who delivers. `waiting` is how many events wait for the destination for which most wait, and `is_wanted` says whether there is any
/// destination.
pub(super) fn judge(daemons: &Daemons, waiting: i64, is_wanted: bool, report: &mut CheckReport) {
    let Daemons { living, has_run, since, unread } = daemons;
    if !living.is_empty() {
        let verb = if living.len() == 1 { "holds" } else { "hold" };
        return report.ok("daemon", format!("{} {verb} a lease", living.join(", ")));
    }
    let cure = "start `andon run`";
    if !has_run {
        let message = format!("no daemon has ever held a lease; {} events are in the log", number(*unread));
        return report.add(Finding::new(Grade::Warning, "daemon", message).cure(cure));
    }
    let since = since.as_ref().map_or(String::new(), |since| format!(" since {since}"));
    let waiting = number(waiting.max(if is_wanted { 0 } else { *unread }));
    let message = format!("no daemon holds a lease{since}, so that nothing is delivered; {waiting} events wait");
    let grade = if is_wanted { Grade::Fault } else { Grade::Warning };
    report.add(Finding::new(grade, "daemon", message).cure(cure));
}

fn number(count: i64) -> String {
    if count < COUNTED { count.to_string() } else { format!("at least {count}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(living: &[&str], has_run: bool, is_wanted: bool) -> (Grade, String) {
        let living = living.iter().map(|name| (*name).to_owned()).collect();
        let daemons = Daemons { living, has_run, since: Some("noon".to_owned()), unread: 7 };
        let mut report = CheckReport::default();
        judge(&daemons, 3, is_wanted, &mut report);
        (report.grade(), report.to_string())
    }

    #[test]
    fn a_daemon_that_is_gone_is_a_fault_and_one_that_is_still_to_come_a_warning() {
        assert_eq!(judged(&["a"], true, true).0, Grade::Ok);
        let (grade, text) = judged(&[], true, true);
        assert_eq!(grade, Grade::Fault);
        assert!(text.contains("no daemon holds a lease since noon") && text.contains("3 events wait"), "{text}");
        let (grade, text) = judged(&[], false, true);
        assert!(grade == Grade::Warning && text.contains("7 events are in the log"), "{text}");
        assert_eq!(judged(&[], true, false).0, Grade::Warning, "nothing wants to be delivered");
    }
}
