//! The part of the check that looks at the changes that could not be captured, and at the events that cannot be read. In: what the triggers
//! and the daemons have recorded and nobody has seen to. Out: a fault for each reason, with its count. It only reads.

use tokio_postgres::Client;

use crate::capture::failures;
use crate::capture::failures::FailureGroup;
use crate::cli::check::report::CheckReport;
use crate::cli::check::report::Finding;

/// How many reasons are told, each with its own line.
const MOST_REASONS: usize = 20;

/// Reports each reason why something was not captured.
pub(super) async fn check(client: &Client, report: &mut CheckReport) {
    let groups = match failures::groups(client).await {
        Ok(groups) => groups,
        Err(error) => {
            let error = anyhow::Error::from(error);
            return report.fault("capture", format!("cannot read andon.capture_errors: {error:#}"));
        }
    };
    groups.iter().take(MOST_REASONS).for_each(|group| report.add(finding(group)));
    let more = groups.len().saturating_sub(MOST_REASONS);
    if more > 0 {
        report.fault("capture", format!("{more} more reasons; `andon capture errors` lists all"));
    }
}

fn finding(group: &FailureGroup) -> Finding {
    let FailureGroup { source, table, operation, reason, count, first, last, .. } = group;
    let since = if first == last { format!("at {last}") } else { format!("from {first} to {last}") };
    if group.is_of_the_log() {
        let message = format!("{count} events cannot be read and go to nobody, {since}: {reason}");
        return Finding::fault("log", message).cure(group.cure());
    }
    let shown = if source.is_empty() { table.clone() } else { format!("{table} (source {source})") };
    if group.is_of_a_lookup() {
        let message = format!("events are captured without what a lookup gives, {since}: {reason}");
        return Finding::fault("capture", message).of(table).cure(group.cure()).shown_as(shown);
    }
    let message = format!("{count} changes ({operation}) could not be captured, {since}: {reason}");
    Finding::fault("capture", message).of(table).cure(group.cure()).shown_as(shown)
}
