//! The part of the check that looks at the destinations: one line for each, with its whole state. In: their rows, their lanes, and what events
//! there are. Out: the lines, of which that of a usable destination is finished when its broker or its files were tried. It only reads.

use tokio_postgres::Client;

use crate::cli::check::daemons;
use crate::cli::check::lanes;
use crate::cli::check::lanes::LaneStatus;
use crate::cli::check::lanes::Lanes;
use crate::cli::check::lanes::Note;
use crate::cli::check::reach::Known;
use crate::cli::check::report::CheckReport;
use crate::cli::check::report::Finding;
use crate::cli::check::report::Grade;
use crate::cli::check::subject::Subject;
use crate::cli::check::subject::line;
use crate::cli::names::Names;
use crate::config::Config;
use crate::destination::Defaults;
use crate::destination::DestinationRow;
use crate::gateway::destinations;
use crate::gateway::destinations::Listing;

/// Lists the rows of all destination tables, and reports the tables that cannot be read.
pub(super) async fn list(client: &mut Client, config: &Config, report: &mut CheckReport) -> Listing {
    let defaults = Defaults {
        mqtt: config.mqtt.clone(),
        webhook: config.webhook.clone(),
        certificates: config.certificates.clone(),
        egress: config.egress.clone(),
        keys: config.keys.clone(),
    };
    let listing = destinations::list(client, &defaults).await.unwrap_or_else(|error| {
        report.fault("destination", format!("{error:#}"));
        Listing::default()
    });
    for unread in &listing.unread {
        report.add(Finding::fault("destination", &unread.reason));
    }
    if listing.active.is_empty() && listing.unread.is_empty() {
        report.warning("destination", "no destination is active; events stay in the log until there is one");
    }
    listing
}

/// Looks at the daemons and the lanes. Returns the usable destinations with what is to be said of each.
pub(super) async fn state(client: &mut Client, listing: Listing, report: &mut CheckReport) -> Vec<Subject> {
    let mut cannot_read = |what: &str, error: tokio_postgres::Error| {
        report.fault("lane", format!("cannot read {what}: {:#}", anyhow::Error::from(error)));
    };
    let daemons = match daemons::read(client).await {
        Ok(daemons) => Some(daemons),
        Err(error) => {
            cannot_read("andon.daemons", error);
            None
        }
    };
    let has_daemon = daemons.as_ref().is_some_and(|daemons| !daemons.living.is_empty());
    let wanted: Vec<_> = listing.active.iter().map(|row| &row.lane).collect();
    let lanes = match lanes::settled(client, &wanted, has_daemon).await {
        Ok(lanes) => Some(lanes),
        Err(error) => {
            cannot_read("andon.lane_status", error);
            None
        }
    };
    let known = Known::read(client).await.unwrap_or_else(|error| {
        cannot_read("what events there are", error);
        Known::default()
    });
    let lanes_known = lanes.is_some();
    let mut lanes = lanes.unwrap_or_default();
    if let Some(daemons) = daemons {
        let waiting = lanes.values().map(|lane| lane.waiting).max().unwrap_or_default();
        let is_wanted = !listing.active.is_empty() || !listing.unread.is_empty();
        daemons::judge(&daemons, waiting, is_wanted, report);
    }
    let names = Names::of(listing.active.iter().map(|row| row.name.as_str()));
    let mut subjects = Vec::new();
    for row in listing.active {
        let lane = lanes.remove(&row.lane);
        let cure = lane.as_ref().and_then(LaneStatus::cure);
        let mut notes: Vec<Note> = match lane {
            Some(lane) if lane.state == "removed" && !has_daemon => Vec::new(),
            Some(lane) if lane.state == "removed" => vec![(Grade::Fault, "no daemon has taken it up again".to_owned())],
            Some(lane) => lane.notes(),
            None if has_daemon && lanes_known => vec![(Grade::Fault, "no daemon has taken it up".to_owned())],
            None => Vec::new(),
        };
        let DestinationRow { lane, tenant, name, usable, .. } = row;
        match usable {
            Ok(destination) => {
                notes.extend(known.notes(&destination.route));
                let shown = names.shown(&name, &tenant.0, &lane.0);
                subjects.push(Subject { destination, shown, notes, cure });
            }
            Err(problems) => {
                // Its lane gives the same reason, which stands in the problems already.
                let waits = notes.into_iter().filter(|(grade, _)| *grade == Grade::Ok).map(|(_, text)| text);
                let message = problems.into_iter().chain(waits).collect::<Vec<_>>().join("\n");
                report.add(Finding::fault("destination", message).of(name).of_lane(lane).shown_as_message());
            }
        }
    }
    leftover(lanes, report);
    subjects
}

/// Reports lanes whose destination is not listed: replays, those of tables that cannot be read, and those that are gone and have left
/// something behind.
fn leftover(lanes: Lanes, report: &mut CheckReport) {
    let mut lanes: Vec<_> = lanes.into_iter().filter(|(_, status)| status.is_of_interest()).collect();
    lanes.sort_by(|(one, _), (other, _)| one.cmp(other));
    for (lane, status) in lanes {
        let area = if status.is_replay { "replay" } else { "lane" };
        let finding = line(area, &status.notes()).of(&status.name).of_lane(&lane);
        let finding = finding.shown_as(format!("{lane} ({})", status.name));
        report.add(match status.cure() {
            Some(cure) => finding.cure(cure),
            None => finding,
        });
    }
}
