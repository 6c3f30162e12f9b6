//! Keeps the names apart that publishers have at a broker: the level in their status topics, and the client ids that their rows pin. In: all
//! destinations, and who has which name. Out: the same destinations, where no two publishers of one broker have the same name, and who has which
//! name now. Who has a name keeps it for as long as the row asks for it: what one row says never takes a name from another.

pub(super) mod holders;

use std::collections::HashMap;

use sha2::Digest as _;
use sha2::Sha256;

use crate::destination::DestinationRow;
use crate::destination::LaneName;
use crate::destination::Target;
use crate::destination::publisher::Publisher;
use crate::destination::status_level::NAMELESS;
use crate::gateway::broker_names::holders::Holders;
use crate::legible;

/// The longest name that is written out in a table: an index of PostgreSQL takes no text of any length.
const LONGEST: usize = 500;

/// Gives each publisher that is to be connected its names. Of several rows that ask for the same one it is for the row that has it, and otherwise for
/// the first by its lane: the status topics of the others get a suffix, and those that pin the same client id cannot be used. Of a row that
/// cannot be used, or that `is_unread` says nobody has read, nobody knows what it asks for, so it keeps what it has. A row that is paused, switched
/// off or gone has nothing.
///
/// A row whose level gets a suffix, or which is refused, counts as changed, and all daemons find the same.
pub(super) fn give(rows: &mut [DestinationRow], held: &Holders, is_unread: impl Fn(&LaneName) -> bool) -> Holders {
    let mut holders = kept(rows, held, is_unread);
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_by(|one, other| rows[*one].lane.cmp(&rows[*other].lane));
    let refused = give_ids(rows, &order, &mut holders);
    give_levels(rows, &order, &refused, &mut holders);
    for (place, reason) in reasons(rows, &refused) {
        rows[place].usable = Err(vec![reason]);
        rows[place].fingerprint += "-refused";
    }
    holders
}

/// Returns who keeps what it has, whatever others ask for.
fn kept(rows: &[DestinationRow], held: &Holders, is_unread: impl Fn(&LaneName) -> bool) -> Holders {
    let rows: HashMap<&LaneName, &DestinationRow> = rows.iter().map(|row| (&row.lane, row)).collect();
    let keeps = |name: &String, lane: &LaneName| match rows.get(lane) {
        None => is_unread(lane),
        Some(row) if row.is_paused => false,
        Some(row) if row.usable.is_err() => true,
        Some(row) => publisher(row).is_some_and(|publisher| {
            id_name(publisher).as_ref() == Some(name)
                || levels(&row.lane, publisher).iter().any(|level| level_name(publisher, level) == *name)
        }),
    };
    held.iter().filter(|(name, lane)| keeps(name, lane)).map(|(name, lane)| (name.clone(), lane.clone())).collect()
}

/// Gives the client ids. Returns the rows whose id is another's, with the lane that has it.
fn give_ids(rows: &[DestinationRow], order: &[usize], holders: &mut Holders) -> HashMap<usize, LaneName> {
    let mut refused = HashMap::new();
    for place in order {
        let row = &rows[*place];
        let Some(name) = publisher(row).and_then(id_name) else { continue };
        let holder = holders.entry(name).or_insert_with(|| row.lane.clone());
        if *holder != row.lane {
            refused.insert(*place, holder.clone());
        }
    }
    refused
}

/// Gives the levels of status topics. A row that is refused keeps the one that it has, as one that cannot be used for another reason.
fn give_levels(
    rows: &mut [DestinationRow],
    order: &[usize],
    refused: &HashMap<usize, LaneName>,
    holders: &mut Holders,
) {
    for place in order {
        let row = &mut rows[*place];
        let Some(asking) = publisher(row) else { continue };
        let levels = levels(&row.lane, asking);
        let names: Vec<String> = levels.iter().map(|level| level_name(asking, level)).collect();
        let own = names.iter().position(|name| holders.get(name) == Some(&row.lane));
        let is_refused = refused.contains_key(place);
        let free = || names.iter().position(|name| !is_refused && !holders.contains_key(name));
        let chosen = own.or_else(free);
        for name in &names {
            if holders.get(name) == Some(&row.lane) {
                holders.remove(name);
            }
        }
        let Some(chosen) = chosen else { continue };
        holders.insert(names[chosen].clone(), row.lane.clone());
        let Ok(destination) = &mut row.usable else { continue };
        if let Target::Mqtt(publisher) = &mut destination.target
            && publisher.status_level != levels[chosen]
        {
            let suffix = levels[chosen].rsplit('-').next().unwrap_or_default();
            row.fingerprint = format!("{}-{suffix}", row.fingerprint);
            publisher.status_level.clone_from(&levels[chosen]);
        }
    }
}

/// Returns the publisher of a row that is to be connected.
fn publisher(row: &DestinationRow) -> Option<&Publisher> {
    match &row.usable.as_ref().ok().filter(|_| !row.is_paused)?.target {
        Target::Mqtt(publisher) => Some(publisher),
        Target::Webhook(_) => None,
    }
}

/// Returns the levels that a publisher may get, the best first. The last is longer than the level of any name, so that nobody can ask for it.
fn levels(lane: &LaneName, publisher: &Publisher) -> Vec<String> {
    let level = &publisher.status_level;
    let digest: String = Sha256::digest(&lane.0).iter().map(|byte| format!("{byte:02x}")).collect();
    let plain = Some(level.clone()).filter(|level| level != NAMELESS);
    plain.into_iter().chain([format!("{level}-{}", &digest[..8]), format!("{level}-{digest}")]).collect()
}

fn level_name(publisher: &Publisher, level: &str) -> String {
    written(format!("status level {level} at {}", publisher.broker()))
}

fn id_name(publisher: &Publisher) -> Option<String> {
    Some(written(format!("client id {} at {}", publisher.client_id.as_ref()?, publisher.broker())))
}

/// Makes a name one that every database can store.
fn written(name: String) -> String {
    if name.len() <= LONGEST && name.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
        return name;
    }
    Sha256::digest(&name).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Says why the rows cannot be used whose client ids are another's. Nobody is told of another tenant's destinations.
fn reasons(rows: &[DestinationRow], refused: &HashMap<usize, LaneName>) -> Vec<(usize, String)> {
    if refused.is_empty() {
        return Vec::new();
    }
    let known: HashMap<&LaneName, &DestinationRow> = rows.iter().map(|row| (&row.lane, row)).collect();
    let reason = |row: &DestinationRow, holder: &LaneName| {
        let publisher = publisher(row)?;
        let whose = match known.get(holder).filter(|it| it.tenant == row.tenant) {
            Some(own) => format!("`{}`", own.name),
            None => "another publisher".to_owned(),
        };
        let (id, broker) = (legible::line(publisher.client_id.clone()?), publisher.broker());
        let name = &row.name;
        Some(format!(
            "mqtt publisher `{name}`: settings.client_id `{id}` is that of {whose} at {broker}; give it its own"
        ))
    };
    refused.iter().filter_map(|(place, holder)| Some((*place, reason(&rows[*place], holder)?))).collect()
}

#[cfg(test)]
mod tests;
