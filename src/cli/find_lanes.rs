//! Finds the destination that an argument names. In: a name as people write it. Out: the destination's lanes, or a failure that lists the
//! known names. It only reads.

use anyhow::Context as _;
use tokio_postgres::Client;

use crate::cli::failure::Failure;
use crate::ledger::overview;
use crate::nearest::nearest;

/// Returns the lanes of the destination that is named by its name, its lane, or the key of its row.
pub(super) async fn lanes(client: &Client, wanted: &str) -> Result<Vec<String>, Failure> {
    let known =
        overview::destinations(client).await.context("cannot read andon.lanes; has `andon migrate` been run?")?;
    let those = |is_meant: &dyn Fn(&str, &str) -> bool| -> Vec<String> {
        known.iter().filter(|(name, lane)| is_meant(name, lane)).map(|(_, lane)| lane.clone()).collect()
    };
    // Whoever writes a row may name it like the lane or the key of another. What he cannot choose comes first.
    let by_lane = those(&|_, lane| lane == wanted);
    let by_key = those(&|_, lane| lane.split_once('/').is_some_and(|(_, key)| key == wanted));
    let by_name = those(&|name, _| name == wanted);
    let found = [by_lane, by_key, by_name].into_iter().find(|found| !found.is_empty()).unwrap_or_default();
    if found.is_empty() {
        let hint = match nearest(wanted, known.iter().flat_map(|(name, lane)| [name.as_str(), lane.as_str()])) {
            Some(near) => format!("; did you mean `{near}`?"),
            None if known.is_empty() => "; no destination has a lane yet; `andon run` creates them".to_owned(),
            None => {
                format!(
                    "; the known names are {}",
                    known.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
                )
            }
        };
        return Err(Failure::Usage(anyhow::anyhow!("no destination is called `{wanted}`{hint}")));
    }
    Ok(found)
}

/// Returns the only lane of the destination. Several are a failure, since a command that changes something must not guess.
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
