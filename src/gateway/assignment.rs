//! Decides which daemon serves which lane. In: all lanes with the daemons that serve them now, and the living daemons. Out: the daemon that
//! should serve each lane. The result depends on nothing else, so every daemon works it out for itself and no coordinator is needed. A lane
//! stays where it is unless moving it evens out the load.

use std::collections::BTreeMap;
use std::collections::HashMap;

use uuid::Uuid;

use crate::destination::LaneName;

/// The identity that a daemon gives itself when it starts.
pub(super) type DaemonId = Uuid;

/// Assigns each lane to one of the living daemons. The numbers of lanes of any two daemons differ by one at most.
pub(super) fn assign(lanes: &BTreeMap<LaneName, Option<DaemonId>>, living: &[DaemonId]) -> HashMap<LaneName, DaemonId> {
    let mut assigned: BTreeMap<DaemonId, Vec<&LaneName>> = living.iter().map(|daemon| (*daemon, Vec::new())).collect();
    let mut free = Vec::new();
    for (lane, daemon) in lanes {
        match daemon.and_then(|daemon| assigned.get_mut(&daemon)) {
            Some(lanes) => lanes.push(lane),
            None => free.push(lane),
        }
    }
    // The daemons that have the most lanes get the remainder, so that the fewest lanes move.
    let mut assigned: Vec<(DaemonId, Vec<&LaneName>)> = assigned.into_iter().collect();
    assigned.sort_by_key(|(daemon, lanes)| (usize::MAX - lanes.len(), *daemon));
    let (each, remainder) = match living.len() {
        0 => return HashMap::new(),
        count => (lanes.len() / count, lanes.len() % count),
    };
    let room = |rank: usize| each + usize::from(rank < remainder);
    for (rank, (_, lanes)) in assigned.iter_mut().enumerate() {
        free.extend(lanes.drain(room(rank).min(lanes.len())..));
    }
    for (rank, (_, lanes)) in assigned.iter_mut().enumerate() {
        let missing = room(rank).saturating_sub(lanes.len());
        lanes.extend(free.drain(..missing));
    }
    assigned.into_iter().flat_map(|(daemon, lanes)| lanes.into_iter().map(move |lane| (lane.clone(), daemon))).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn daemon(number: u8) -> DaemonId {
        Uuid::from_u128(u128::from(number))
    }

    proptest! {
        /// Each lane is served by one of nine daemons or by none; some of the nine are alive.
        #[test]
        fn every_lane_is_served_by_one_of_the_living_evenly_and_few_move(
            owners in prop::collection::vec(prop::option::of(0..9u8), 0..40), living in prop::collection::btree_set(0..9u8, 1..6),
        ) {
            let lanes: BTreeMap<LaneName, Option<DaemonId>> =
                owners.iter().enumerate().map(|(n, owner)| (LaneName(format!("lane {n:02}")), owner.map(daemon))).collect();
            let living: Vec<DaemonId> = living.into_iter().map(daemon).collect();

            let assigned = assign(&lanes, &living);

            let count = |who: &DaemonId| assigned.values().filter(|daemon| *daemon == who).count();
            let counts: Vec<usize> = living.iter().map(count).collect();
            prop_assert_eq!(counts.iter().sum::<usize>(), lanes.len(), "every lane is served");
            prop_assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1, "{:?}", counts);
            let settled: BTreeMap<LaneName, Option<DaemonId>> =
                assigned.iter().map(|(lane, daemon)| (lane.clone(), Some(*daemon))).collect();
            prop_assert_eq!(&assign(&settled, &living), &assigned, "a settled assignment stays");
            for who in &living {
                let before = lanes.values().filter(|owner| owner.as_ref() == Some(who)).count();
                let kept = lanes.iter().filter(|(lane, owner)| owner.as_ref() == Some(who) && assigned[*lane] == *who).count();
                prop_assert_eq!(kept, before.min(count(who)), "a lane moved although it need not have");
            }
        }
    }

    #[test]
    fn where_nobody_lives_nobody_serves() {
        let lanes = BTreeMap::from([(LaneName("a".to_owned()), None)]);

        assert!(assign(&lanes, &[]).is_empty());
    }
}
