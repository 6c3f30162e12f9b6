//! Who serves which lane. In: all lanes with those who serve them, and who lives. Out: who is to. It is the same wherever it is worked
//! out, so that the daemons need nobody to tell them; a lane that need not move does not.

use std::collections::BTreeMap;
use std::collections::HashMap;

use uuid::Uuid;

use crate::destination::LaneName;

/// A daemon, by the identity that it gave itself at its start.
pub(super) type DaemonId = Uuid;

/// Gives each lane to one of the living. The numbers of any two of them differ by one at most.
pub(super) fn assign(lanes: &BTreeMap<LaneName, Option<DaemonId>>, living: &[DaemonId]) -> HashMap<LaneName, DaemonId> {
    let mut shares: BTreeMap<DaemonId, Vec<&LaneName>> = living.iter().map(|daemon| (*daemon, Vec::new())).collect();
    let mut free = Vec::new();
    for (lane, daemon) in lanes {
        match daemon.and_then(|daemon| shares.get_mut(&daemon)) {
            Some(share) => share.push(lane),
            None => free.push(lane),
        }
    }
    // Those who have most keep the odd ones, so that the fewest lanes move.
    let mut shares: Vec<(DaemonId, Vec<&LaneName>)> = shares.into_iter().collect();
    shares.sort_by_key(|(daemon, share)| (usize::MAX - share.len(), *daemon));
    let (each, odd) = match living.len() {
        0 => return HashMap::new(),
        count => (lanes.len() / count, lanes.len() % count),
    };
    let room = |place: usize| each + usize::from(place < odd);
    for (place, (_, share)) in shares.iter_mut().enumerate() {
        free.extend(share.drain(room(place).min(share.len())..));
    }
    for (place, (_, share)) in shares.iter_mut().enumerate() {
        let missing = room(place).saturating_sub(share.len());
        share.extend(free.drain(..missing));
    }
    shares.into_iter().flat_map(|(daemon, share)| share.into_iter().map(move |lane| (lane.clone(), daemon))).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn daemon(number: u8) -> DaemonId {
        Uuid::from_u128(u128::from(number))
    }

    proptest! {
        /// Lanes are served by one of nine daemons or by nobody; some of the nine live.
        #[test]
        fn every_lane_is_served_by_one_of_the_living_evenly_and_few_move(
            owners in prop::collection::vec(prop::option::of(0..9u8), 0..40), living in prop::collection::btree_set(0..9u8, 1..6),
        ) {
            let lanes: BTreeMap<LaneName, Option<DaemonId>> =
                owners.iter().enumerate().map(|(n, owner)| (LaneName(format!("lane {n:02}")), owner.map(daemon))).collect();
            let living: Vec<DaemonId> = living.into_iter().map(daemon).collect();

            let shares = assign(&lanes, &living);

            let count = |who: &DaemonId| shares.values().filter(|daemon| *daemon == who).count();
            let counts: Vec<usize> = living.iter().map(count).collect();
            prop_assert_eq!(counts.iter().sum::<usize>(), lanes.len(), "every lane is served");
            prop_assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1, "{:?}", counts);
            let settled: BTreeMap<LaneName, Option<DaemonId>> =
                shares.iter().map(|(lane, daemon)| (lane.clone(), Some(*daemon))).collect();
            prop_assert_eq!(&assign(&settled, &living), &shares, "what is settled stays");
            for who in &living {
                let before = lanes.values().filter(|owner| owner.as_ref() == Some(who)).count();
                let kept = lanes.iter().filter(|(lane, owner)| owner.as_ref() == Some(who) && shares[*lane] == *who).count();
                prop_assert_eq!(kept, before.min(count(who)), "a lane moved for nothing");
            }
        }
    }

    #[test]
    fn where_nobody_lives_nobody_serves() {
        let lanes = BTreeMap::from([(LaneName("a".to_owned()), None)]);

        assert!(assign(&lanes, &[]).is_empty());
    }
}
