//! Looks at all attached sources from time to time. In: a connection, and how old a look may be. Out: the state of each source, which
//! `andon.sources` keeps. Several daemons share the work: whoever finds that a look is old looks again.

use std::time::Duration;

use tokio_postgres::Client;
use tokio_postgres::Error;

use crate::capture::attach;
use crate::capture::attach::Inspection;
use crate::capture::mapping::Mapping;
use crate::capture::plan::record;

/// How many differences are kept of one look.
const TOLD: usize = 10;

/// What is known of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceState {
    /// The source.
    pub name: String,
    /// How it differs from what is attached; none if it does not.
    pub difference: Option<String>,
}

/// Looks at the sources whose last look is older than `age`, and returns the state of all.
pub async fn look(client: &mut Client, age: Duration) -> Result<Vec<SourceState>, Error> {
    let due = "select name, mapping from andon.sources
        where checked_at is null or checked_at <= now() - make_interval(secs => $1) order by name";
    let due = client.query(due, &[&age.as_secs_f64()]).await?;
    for row in due {
        let (name, text): (String, String) = (row.get(0), row.get(1));
        let difference = match Mapping::parse(&name, &text) {
            Ok(mapping) => match attach::inspect(client, &mapping).await {
                Ok(inspection) => difference(inspection),
                Err(error) => Some(format!("{:#}", anyhow::Error::new(error))),
            },
            Err(problems) => Some(problems.to_string()),
        };
        record::note_look(client, &name, difference.as_deref()).await?;
    }
    let states = "select name, case state when 'differs' then coalesce(reason, 'it differs') end from andon.sources order by name";
    let rows = client.query(states, &[]).await?;
    Ok(rows.iter().map(|row| SourceState { name: row.get(0), difference: row.get(1) }).collect())
}

/// Returns what is wrong in some words.
fn difference(inspection: Inspection) -> Option<String> {
    let mut lines: Vec<String> = inspection.findings.iter().map(ToString::to_string).collect();
    lines.extend(inspection.differences);
    let more = lines.len().saturating_sub(TOLD);
    lines.truncate(TOLD);
    if more > 0 {
        lines.push(format!("and {more} more"));
    }
    (!lines.is_empty()).then(|| lines.join("\n"))
}
