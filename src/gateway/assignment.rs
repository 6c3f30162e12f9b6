//! Decides which daemon serves which lane. In: all lanes with the daemons that serve them now and the keys that their rows need, and the living
//! daemons with the keys that they hold. Out: the daemon that should serve each lane. The result depends on nothing else, so every daemon works
//! it out for itself and no coordinator is needed. A lane stays where it is unless its daemon lacks a key that another one holds, or moving it
//! evens out the load.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::HashMap;

use uuid::Uuid;

use crate::destination::LaneName;

/// The identity that a daemon gives itself when it starts.
pub(super) type DaemonId = Uuid;

/// A daemon that holds a lease.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LivingDaemon {
    pub(super) id: DaemonId,
    /// The ids of the keys that it opens sealed secrets with.
    pub(super) keys: Vec<String>,
}

/// A lane, and the daemon that serves it now.
type Served<'a> = (&'a LaneName, Option<DaemonId>);

/// The lanes of one daemon while lanes are dealt out.
struct Share<'a> {
    daemon: DaemonId,
    /// How many lanes it has that were dealt out before.
    before: usize,
    lanes: Vec<&'a LaneName>,
}

/// Assigns each lane to one of the living daemons: to one that holds all keys in `needed`, or to any where there is none, which then says
/// what is missing. Where all hold all keys, the numbers of lanes of any two daemons differ by one at most.
pub(super) fn assign(
    lanes: &BTreeMap<LaneName, Option<DaemonId>>,
    needed: &HashMap<&LaneName, &BTreeSet<String>>,
    living: &[LivingDaemon],
) -> HashMap<LaneName, DaemonId> {
    // What the fewest can serve comes first, because the rest can even out what that leaves uneven.
    let mut groups: BTreeMap<(usize, Vec<DaemonId>), Vec<Served<'_>>> = BTreeMap::new();
    for (lane, daemon) in lanes {
        let able = able(needed.get(lane).copied(), living);
        groups.entry((able.len(), able)).or_default().push((lane, *daemon));
    }
    let mut loads: HashMap<DaemonId, usize> = HashMap::new();
    let mut assigned = HashMap::with_capacity(lanes.len());
    for ((_, able), lanes) in &groups {
        for share in deal(able, lanes, &loads) {
            *loads.entry(share.daemon).or_default() += share.lanes.len();
            assigned.extend(share.lanes.into_iter().map(|lane| (lane.clone(), share.daemon)));
        }
    }
    assigned
}

/// Returns the daemons that can open what is sealed with these keys, in their order, or all if none can.
fn able(needed: Option<&BTreeSet<String>>, living: &[LivingDaemon]) -> Vec<DaemonId> {
    let holds = |daemon: &&LivingDaemon| needed.is_none_or(|keys| keys.iter().all(|key| daemon.keys.contains(key)));
    let mut able: Vec<DaemonId> = living.iter().filter(holds).map(|daemon| daemon.id).collect();
    if able.is_empty() {
        able.extend(living.iter().map(|daemon| daemon.id));
    }
    able.sort_unstable();
    able
}

/// Deals lanes out to the daemons that can serve them, each of which has its load already, so that they have as equal numbers as that allows.
fn deal<'a>(able: &[DaemonId], lanes: &[Served<'a>], loads: &HashMap<DaemonId, usize>) -> Vec<Share<'a>> {
    let before = |daemon: &DaemonId| loads.get(daemon).copied().unwrap_or_default();
    let share = |daemon: &DaemonId| Share { daemon: *daemon, before: before(daemon), lanes: Vec::new() };
    let mut shares: Vec<Share<'_>> = able.iter().map(share).collect();
    let mut free = Vec::new();
    for (lane, daemon) in lanes {
        match shares.iter_mut().find(|share| Some(share.daemon) == *daemon) {
            Some(share) => share.lanes.push(lane),
            None => free.push(*lane),
        }
    }
    let up_to = |level: usize| shares.iter().map(|share| level.saturating_sub(share.before)).sum::<usize>();
    let mut level = 0;
    while !shares.is_empty() && up_to(level + 1) <= lanes.len() {
        level += 1;
    }
    let mut remainder = lanes.len().saturating_sub(up_to(level));
    // The daemons that have more than their equal part get the remainder, so that the fewest lanes move. How much more they have, and how much
    // less the others have, says only who looked first, and daemons that look at different moments would leave a lane to each other.
    shares.sort_by_key(|share| (share.before + share.lanes.len() <= level, share.daemon));
    let mut room = |share: &Share<'_>| {
        let one_more = usize::from(remainder > 0 && share.before <= level);
        remainder -= one_more;
        level.saturating_sub(share.before) + one_more
    };
    let rooms: Vec<usize> = shares.iter().map(&mut room).collect();
    for (share, room) in shares.iter_mut().zip(&rooms) {
        free.extend(share.lanes.drain((*room).min(share.lanes.len())..));
    }
    for (share, room) in shares.iter_mut().zip(rooms) {
        let missing = room.saturating_sub(share.lanes.len());
        share.lanes.extend(free.drain(..missing));
    }
    shares
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn daemon(number: u8) -> DaemonId {
        Uuid::from_u128(u128::from(number))
    }

    fn lanes(owners: &[Option<u8>]) -> BTreeMap<LaneName, Option<DaemonId>> {
        owners.iter().enumerate().map(|(n, owner)| (LaneName(format!("lane {n:02}")), owner.map(daemon))).collect()
    }

    fn settled(assigned: &HashMap<LaneName, DaemonId>) -> BTreeMap<LaneName, Option<DaemonId>> {
        assigned.iter().map(|(lane, daemon)| (lane.clone(), Some(*daemon))).collect()
    }

    fn keys(names: &str) -> Vec<String> {
        names.chars().map(String::from).collect()
    }

    proptest! {
        /// Each lane is served by one of nine daemons or by none; some of the nine are alive.
        #[test]
        fn every_lane_is_served_by_one_of_the_living_evenly_and_few_move(
            owners in prop::collection::vec(prop::option::of(0..9u8), 0..40), living in prop::collection::btree_set(0..9u8, 1..6),
        ) {
            let lanes = lanes(&owners);
            let needed = BTreeSet::from(["a".to_owned()]);
            let needed: HashMap<&LaneName, &BTreeSet<String>> = lanes.keys().step_by(2).map(|lane| (lane, &needed)).collect();
            let living: Vec<LivingDaemon> = living.into_iter().map(|id| LivingDaemon { id: daemon(id), keys: keys("a") }).collect();

            let assigned = assign(&lanes, &needed, &living);

            let count = |who: &DaemonId| assigned.values().filter(|daemon| *daemon == who).count();
            let counts: Vec<usize> = living.iter().map(|it| count(&it.id)).collect();
            prop_assert_eq!(counts.iter().sum::<usize>(), lanes.len(), "every lane is served");
            prop_assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1, "{:?}", counts);
            prop_assert_eq!(&assign(&settled(&assigned), &needed, &living), &assigned, "a settled assignment stays");
            for LivingDaemon { id, .. } in &living {
                let before = lanes.values().filter(|owner| owner.as_ref() == Some(id)).count();
                let kept = lanes.iter().filter(|(lane, owner)| owner.as_ref() == Some(id) && assigned[*lane] == *id).count();
                prop_assert_eq!(kept, before.min(count(id)), "a lane moved although it need not have");
            }
        }

        /// Some lanes need one of three keys or several, and some daemons hold some of them.
        #[test]
        fn a_lane_goes_to_a_daemon_that_holds_its_keys_and_stays_there(
            lanes_and_needs in prop::collection::vec((prop::option::of(0..9u8), "a?b?c?"), 0..40),
            living in prop::collection::btree_map(0..9u8, "a?b?c?", 1..6),
        ) {
            let (owners, needs): (Vec<Option<u8>>, Vec<String>) = lanes_and_needs.into_iter().unzip();
            let lanes = lanes(&owners);
            let needs: Vec<BTreeSet<String>> = needs.iter().map(|names| keys(names).into_iter().collect()).collect();
            let needed: HashMap<&LaneName, &BTreeSet<String>> = lanes.keys().zip(&needs).collect();
            let living: Vec<LivingDaemon> = living.iter().map(|(id, names)| LivingDaemon { id: daemon(*id), keys: keys(names) }).collect();

            let assigned = assign(&lanes, &needed, &living);

            let can = |who: &LivingDaemon, lane: &LaneName| needed[lane].iter().all(|key| who.keys.contains(key));
            for lane in lanes.keys() {
                let who = living.iter().find(|it| it.id == assigned[lane]).unwrap();
                prop_assert!(can(who, lane) || !living.iter().any(|it| can(it, lane)), "{:?} cannot open {}", who, lane);
            }
            prop_assert_eq!(&assign(&settled(&assigned), &needed, &living), &assigned, "a settled assignment stays");
        }

        /// Some lanes need the only key, which some daemons hold.
        #[test]
        fn the_others_even_out_what_those_have_that_hold_the_key(
            lanes_and_needs in prop::collection::vec((prop::option::of(0..9u8), any::<bool>()), 0..40),
            living in prop::collection::btree_map(0..9u8, any::<bool>(), 1..6),
        ) {
            let (owners, are_sealed): (Vec<Option<u8>>, Vec<bool>) = lanes_and_needs.into_iter().unzip();
            let (lanes, key) = (lanes(&owners), BTreeSet::from(["a".to_owned()]));
            let sealed = lanes.keys().zip(are_sealed).filter(|(_, is_sealed)| *is_sealed).map(|(lane, _)| (lane, &key));
            let needed: HashMap<&LaneName, &BTreeSet<String>> = sealed.collect();
            let held = |holds: bool| if holds { keys("a") } else { Vec::new() };
            let living: Vec<LivingDaemon> = living.iter().map(|(id, holds)| LivingDaemon { id: daemon(*id), keys: held(*holds) }).collect();

            let assigned = assign(&lanes, &needed, &living);

            let load = |who: DaemonId| assigned.values().filter(|daemon| **daemon == who).count();
            let has_holder = living.iter().any(|it| !it.keys.is_empty());
            for (lane, daemon) in &assigned {
                let may = |it: &&LivingDaemon| !needed.contains_key(lane) || !has_holder || !it.keys.is_empty();
                let least = living.iter().filter(may).map(|it| load(it.id)).min().unwrap();
                prop_assert!(load(*daemon) <= least + 1, "{} makes it uneven", lane);
            }
            for who in &living {
                for is_sealed in [false, true] {
                    let of = |lane: &LaneName| needed.contains_key(lane) == is_sealed;
                    let before = lanes.iter().filter(|(lane, owner)| **owner == Some(who.id) && of(lane)).count();
                    let after = assigned.iter().filter(|(lane, daemon)| **daemon == who.id && of(lane)).count();
                    let kept = lanes.iter().filter(|(lane, owner)| **owner == Some(who.id) && of(lane) && assigned[*lane] == who.id);
                    prop_assert_eq!(kept.count(), before.min(after), "a lane moved although it need not have");
                }
            }
        }
    }

    proptest! {
        /// Some lanes need the only key, which some daemons hold. The daemons look in any order, and each leaves and takes what it finds.
        #[test]
        fn whoever_looks_first_the_numbers_are_the_same_and_no_lane_is_left_to_another(
            lanes_and_needs in prop::collection::vec((prop::option::of(0..9u8), any::<bool>()), 0..40),
            living in prop::collection::btree_map(0..9u8, any::<bool>(), 1..6),
            looks in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
        ) {
            let (owners, are_sealed): (Vec<Option<u8>>, Vec<bool>) = lanes_and_needs.into_iter().unzip();
            let (mut lanes, key) = (lanes(&owners), BTreeSet::from(["a".to_owned()]));
            let names: Vec<LaneName> = lanes.keys().cloned().collect();
            let sealed = names.iter().zip(are_sealed).filter(|(_, is_sealed)| *is_sealed).map(|(lane, _)| (lane, &key));
            let needed: HashMap<&LaneName, &BTreeSet<String>> = sealed.collect();
            let held = |holds: bool| if holds { keys("a") } else { Vec::new() };
            let living: Vec<LivingDaemon> = living.iter().map(|(id, holds)| LivingDaemon { id: daemon(*id), keys: held(*holds) }).collect();
            let lives = |owner: &Option<DaemonId>| living.iter().any(|it| Some(it.id) == *owner);
            let counts = |assigned: &HashMap<LaneName, DaemonId>| -> Vec<usize> {
                living.iter().map(|it| assigned.values().filter(|daemon| **daemon == it.id).count()).collect()
            };
            let promised = counts(&assign(&lanes, &needed, &living));

            let everybody = (0..living.len()).chain(0..living.len());
            for place in looks.iter().map(|look| look.index(living.len())).chain(everybody) {
                let (who, assigned) = (living[place].id, assign(&lanes, &needed, &living));
                prop_assert_eq!(counts(&assigned), &promised[..]);
                for (lane, owner) in &mut lanes {
                    match (assigned[lane] == who, lives(owner)) {
                        (true, false) => *owner = Some(who),
                        (false, true) if *owner == Some(who) => *owner = None,
                        _ => {}
                    }
                }
            }

            prop_assert!(lanes.values().all(lives), "nobody looks any more, and nobody serves one of {:?}", lanes);
        }
    }

    #[test]
    fn where_nobody_lives_nobody_serves() {
        assert!(assign(&lanes(&[None]), &HashMap::new(), &[]).is_empty());
    }
}
