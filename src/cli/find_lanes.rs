//! Finds the destination that an argument names. In: a name as people write it. Out: the destination's lanes, or a failure that lists the
//! known names. It only reads.

use anyhow::Context as _;
use tokio_postgres::Client;

use crate::cli::failure::Failure;
use crate::cli::names;
use crate::ledger::overview;
use crate::ledger::overview::KnownDestination;
use crate::nearest::nearest;

/// Returns the lanes of the destination that is named by its name, its lane, or the key of its row.
pub(super) async fn lanes(client: &Client, wanted: &str) -> Result<Vec<String>, Failure> {
    Ok(found(client, wanted).await?.into_iter().map(|it| it.lane).collect())
}

async fn found(client: &Client, wanted: &str) -> Result<Vec<KnownDestination>, Failure> {
    let known =
        overview::destinations(client).await.context("cannot read andon.lanes; has `andon migrate` been run?")?;
    let those = |is_meant: &dyn Fn(&KnownDestination) -> bool| -> Vec<KnownDestination> {
        known.iter().filter(|it| is_meant(it)).cloned().collect()
    };
    // Whoever writes a row may name it like the lane or the key of another. What he cannot choose comes first.
    let by_lane = those(&|it| it.lane == wanted);
    let by_key = those(&|it| it.lane.split_once('/').is_some_and(|(_, key)| key == wanted));
    let by_name = those(&|it| it.name == wanted);
    let found = [by_lane, by_key, by_name].into_iter().find(|found| !found.is_empty()).unwrap_or_default();
    if found.is_empty() {
        let hint = match nearest(wanted, known.iter().flat_map(|it| [it.name.as_str(), it.lane.as_str()])) {
            Some(near) => format!("; did you mean `{near}`?"),
            None if known.is_empty() => "; no destination has a lane yet; `andon run` creates them".to_owned(),
            None => {
                let mut names: Vec<&str> = known.iter().map(|it| it.name.as_str()).collect();
                names.dedup();
                format!("; the known names are {}", names.join(", "))
            }
        };
        return Err(Failure::Usage(anyhow::anyhow!("no destination is called `{wanted}`{hint}")));
    }
    Ok(found)
}

/// Returns the only lane of the destination. Several are a failure, since a command that changes something must not guess.
pub(super) async fn one_lane(client: &Client, wanted: &str) -> Result<String, Failure> {
    let mut found = found(client, wanted).await?;
    match (found.pop(), found.is_empty()) {
        (Some(it), true) => Ok(it.lane),
        (last, _) => {
            found.extend(last);
            let lanes: Vec<String> = found.iter().map(|it| names::with_tenant(&it.lane, &it.tenant)).collect();
            Err(Failure::Usage(anyhow::anyhow!(
                "{} destinations are called `{wanted}`; name the lane of one:\n  {}",
                found.len(),
                lanes.join("\n  ")
            )))
        }
    }
}
