//! Looks at all attached sources from time to time. In: a connection, and how old a look may be. Out: the state of each source, which
//! `andon.sources` keeps. Several daemons share the work: whoever finds that a look is old looks again.

use std::time::Duration;

use tokio_postgres::Client;
use tokio_postgres::Error;

use crate::capture::attach;
use crate::capture::attach::Inspection;
use crate::capture::error::SourceError;
use crate::capture::mapping::Mapping;
use crate::capture::plan::record;

pub use crate::capture::plan::record::Look;

/// How many differences are kept of one look.
const TOLD: usize = 10;

/// Looks at the sources whose last look is older than `age`, and returns what was found last of each.
pub async fn look(client: &mut Client, age: Duration) -> Result<Vec<(String, Look)>, Error> {
    let due = "select name, mapping from andon.sources
        where checked_at is null or checked_at <= now() - make_interval(secs => $1) order by name";
    for row in client.query(due, &[&age.as_secs_f64()]).await? {
        let (name, text): (String, String) = (row.get(0), row.get(1));
        let found = match Mapping::parse(&name, &text) {
            Ok(mapping) => match attach::inspect(client, &mapping).await {
                Ok(inspection) => judge(inspection),
                Err(error @ SourceError::Overlap { .. }) => Look::Differs(error.to_string()),
                Err(error) => Look::Unknown(format!("{:#}", anyhow::Error::new(error))),
            },
            Err(problems) => Look::Differs(problems.to_string()),
        };
        record::note_look(client, &name, &found).await?;
    }
    record::looks(client).await
}

/// Returns what is wrong in some words.
fn judge(inspection: Inspection) -> Look {
    let mut lines: Vec<String> = inspection.findings.iter().map(ToString::to_string).collect();
    lines.extend(inspection.differences);
    lines.extend(inspection.lacking);
    if lines.is_empty() {
        return Look::Attached;
    }
    let more = lines.len().saturating_sub(TOLD);
    lines.truncate(TOLD);
    if more > 0 {
        lines.push(format!("and {more} more"));
    }
    Look::Differs(lines.join("\n"))
}
