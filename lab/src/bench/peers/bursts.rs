//! Bursts of events, which a peer and Andon take in turns. In: the two sides. Out: their figures.

use anyhow::Result;
use rig::Postgres;

use crate::bench::comparison::Comparison;
use crate::bench::peers::contest::ArrivalCounter;
use crate::bench::peers::contest::Side;
use crate::bench::peers::options::PeersBench;
use crate::bench::peers::plant;

pub(super) const VARIANTS: [&str; 2] = ["peer", "andon"];

/// Returns the name of the figure that shows how fast a consumer can be.
pub(super) fn rate(peer: &str) -> String {
    format!("{peer}: events/s, from the commit of an import")
}

/// Returns the name of the figure that shows what an event costs a consumer.
pub(super) fn work(peer: &str) -> String {
    format!("{peer}: its processor time, us/event")
}

/// Lets both sides work in turns, and adds their figures.
pub(super) async fn bursts(
    peer: &str,
    sides: [&Side; 2],
    counter: &ArrivalCounter,
    postgres: &Postgres,
    options: &PeersBench,
    comparison: &mut Comparison,
) -> Result<()> {
    for side in sides {
        side.takes_up(counter).await?;
        // The first burst does not count because it is cold.
        side.burst(counter, postgres, options.events, plant::PORTION).await?;
    }
    for _ in 0..options.rounds {
        for (side, variant) in sides.into_iter().zip(VARIANTS) {
            let burst = side.burst(counter, postgres, options.events, plant::PORTION).await?;
            comparison.note(&format!("{peer}: events/s, as fast as they are committed"), variant, burst.rate);
            comparison.note(&work(peer), variant, burst.work);
            comparison.note(&format!("{peer}: PostgreSQL's processor time, us/event"), variant, burst.database_work);
            comparison.note(&format!("{peer}: processor time of all processes, us/event"), variant, burst.all_work);
            // All events of an import are there at once, so this shows how fast the consumer can be.
            let import = side.burst(counter, postgres, options.events, options.events).await?;
            comparison.note(&rate(peer), variant, import.rate);
            comparison.note(&format!("{peer}: its processor time in an import, us/event"), variant, import.work);
        }
    }
    Ok(())
}
