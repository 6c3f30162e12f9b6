//! Which destination somebody means. In: a name as people write it. Out: its lanes, or which names there are. It only reads.

use anyhow::Context as _;
use tokio_postgres::Client;

use crate::cli::Failure;
use crate::ledger::overview;
use crate::nearest::nearest;

/// The lanes of a destination, by its name, its lane, or the key of its row.
pub(super) async fn lanes(client: &Client, wanted: &str) -> Result<Vec<String>, Failure> {
    let known =
        overview::destinations(client).await.context("cannot read andon.lanes; has `andon migrate` been run?")?;
    let is_meant = |name: &str, lane: &str| {
        name == wanted || lane == wanted || lane.split_once('/').is_some_and(|(_, key)| key == wanted)
    };
    let found: Vec<String> =
        known.iter().filter(|(name, lane)| is_meant(name, lane)).map(|(_, lane)| lane.clone()).collect();
    if found.is_empty() {
        let hint = match nearest(wanted, known.iter().flat_map(|(name, lane)| [name.as_str(), lane.as_str()])) {
            Some(near) => format!("; did you mean `{near}`?"),
            None if known.is_empty() => "; none has had a lane yet: `andon run` makes them".to_owned(),
            None => {
                format!("; there are {}", known.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", "))
            }
        };
        return Err(Failure::Usage(anyhow::anyhow!("no destination is called `{wanted}`{hint}")));
    }
    Ok(found)
}

/// The one lane of a destination: what changes something must not guess.
pub(super) async fn one_lane(client: &Client, wanted: &str) -> Result<String, Failure> {
    let mut found = lanes(client, wanted).await?;
    match (found.pop(), found.is_empty()) {
        (Some(lane), true) => Ok(lane),
        (lane, _) => {
            found.extend(lane);
            let lanes = found.join("\n  ");
            Err(Failure::Usage(anyhow::anyhow!(
                "{} destinations are called `{wanted}`; name the lane of one:\n  {lanes}",
                found.len()
            )))
        }
    }
}
