//! `andon replay` delivers the events of a period again. In: a destination, two times and event patterns. Out: a replay that the daemons
//! carry out next to their live deliveries, and its progress. The command itself delivers nothing.

mod text;

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use anyhow::anyhow;
use clap::Args;
use jiff::Timestamp;
use tokio_postgres::Client;

use crate::cli::failure::Failure;
use crate::cli::find_lanes;
use crate::cli::options::GlobalOptions;
use crate::cli::screen;
use crate::cli::time;
use crate::config::Config;
use crate::database::Database;
use crate::destination::Defaults;
use crate::destination::Destination;
use crate::destination::LaneName;
use crate::gateway::destinations;
use crate::ledger::overview;
use crate::ledger::replays;
use crate::ledger::replays::ReplayRequest;
use crate::ledger::replays::ReplayStatus;
use crate::legible;
use crate::log::partitions;
use crate::log::time_range;
use crate::ranges::Ranges;
use crate::router::EventPattern;

#[derive(Debug, Args)]
pub(super) struct Replay {
    /// Destination that gets the events again
    #[arg(long, value_name = "NAME or LANE", required_unless_present_any = ["list", "cancel"])]
    destination: Option<String>,

    /// Start of the period: a time such as 2026-11-20T06:00:00Z, or how long ago it was, such as 2h
    #[arg(long, value_name = "TIME", required_unless_present_any = ["list", "cancel"])]
    since: Option<String>,

    /// End of the period, given like --since [default: now]
    #[arg(long, value_name = "TIME")]
    until: Option<String>,

    /// Replay only event types such as `job.created` or `operation.*`, of those that the destination takes; may be given several
    /// times
    #[arg(long = "event", value_name = "PATTERN")]
    events: Vec<String>,

    /// Replay what there is if the log does not reach back to --since
    #[arg(long)]
    partial: bool,

    /// List the replays and their progress
    #[arg(long, conflicts_with_all = ["destination", "since", "until", "events", "partial", "cancel"])]
    list: bool,

    /// Cancel a running replay
    #[arg(long, value_name = "ID", conflicts_with_all = ["destination", "since", "until", "events", "partial"])]
    cancel: Option<i64>,
}

/// How often the progress is read.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// How many polls there are for one printed line, where the output is no terminal and a line cannot replace the one before.
const POLLS_PER_LINE: u32 = 20;

/// After how many polls in which only a change of the destination could help the command ends. A row that was changed a moment ago may not have
/// been seen yet.
const POLLS_STUCK: u32 = 5;

impl Replay {
    pub(super) async fn run(self, global: &GlobalOptions) -> Result<ExitCode, Failure> {
        let config = global.load()?;
        let database = Database::new(&config.database).map_err(|error| Failure::Usage(error.into()))?;
        let mut client = database.connect().await.map_err(anyhow::Error::from)?;
        let now = overview::now(&client).await.context("cannot read the time of the database")?;
        if self.list {
            screen::show(text::list(now, &replays::list(&client, None).await.context(UNREADABLE)?));
            return Ok(ExitCode::SUCCESS);
        }
        if let Some(id) = self.cancel {
            if !replays::cancel(&client, id).await.context(UNREADABLE)? {
                return Err(Failure::Fault(anyhow!(
                    "replay {id} is not running; `andon replay --list` shows those that are"
                )));
            }
            screen::say(format_args!("replay {id} is cancelled; what it delivered stays delivered"));
            return Ok(ExitCode::SUCCESS);
        }
        let Some(wanted) = self.resolve(&mut client, config, now).await? else {
            screen::say("there is nothing to deliver again");
            return Ok(ExitCode::SUCCESS);
        };
        let id = replays::request(&client, &wanted).await.context("cannot start a replay; nothing was changed")?;
        screen::say(text::asked(id, &wanted));
        follow(&client, id).await
    }

    /// Turns the arguments into a range of the log and counts its events. Returns `None` when there is nothing to deliver.
    async fn resolve(
        &self,
        client: &mut Client,
        config: Config,
        now: Timestamp,
    ) -> Result<Option<ReplayRequest>, Failure> {
        let usage = |message: String| Failure::Usage(anyhow!(message));
        let since = time::parse(self.since.as_deref().unwrap_or_default(), now).map_err(usage)?;
        let until = self.until.as_deref().map_or(Ok(now), |text| time::parse(text, now)).map_err(usage)?;
        let filter = self.events.iter().map(|text| EventPattern::parse(text)).collect::<Result<Vec<_>, _>>();
        let filter = filter.map_err(|error| Failure::Usage(error.into()))?;
        let lane = LaneName(find_lanes::one_lane(client, self.destination.as_deref().unwrap_or_default()).await?);
        let reach = time_range::forgotten(client).await.context(UNREADABLE)?;
        if let Some(reach) = reach.filter(|reach| since <= *reach && !self.partial) {
            let message = format!("the log reaches back to {reach} only; replay what there is with --partial");
            return Err(Failure::Fault(anyhow!(message)));
        }
        let defaults = Defaults {
            mqtt: config.mqtt,
            webhook: config.webhook,
            certificates: config.certificates,
            egress: config.egress,
            keys: config.keys,
        };
        let listing = destinations::list(client, &defaults).await.context("cannot read the destinations")?;
        if let Some(unread) = listing.unread.into_iter().find(|unread| unread.may_hold(&lane)) {
            return Err(Failure::Fault(anyhow!(unread.reason)));
        }
        let listed = listing.active.into_iter().find(|listed| listed.lane == lane);
        let listed =
            listed.ok_or_else(|| anyhow!("{lane} is not active; nothing can be delivered to it before its row is"))?;
        let Destination { route, name, .. } = listed.usable.map_err(|reasons| anyhow!(reasons.join("\n")))?;
        if listed.is_paused {
            return Err(Failure::Fault(anyhow!(
                "`{name}` is paused; take settings.paused out of its row, and repeat this"
            )));
        }
        if let Some((state, reason)) =
            replays::standstill(client, &lane, &listed.fingerprint).await.context(UNREADABLE)?
        {
            return Err(Failure::Fault(anyhow!(text::standstill(&name, &state, &reason))));
        }
        let Some((first, last)) = time_range::between(client, since, until).await.context("cannot read the log")?
        else {
            return Ok(None);
        };
        let takes = |event_type: &str| {
            let is_selected = filter.is_empty() || filter.iter().any(|pattern| pattern.matches(event_type));
            is_selected && route.events.iter().any(|pattern| pattern.matches(event_type))
        };
        let counts = partitions::count(client, &route.tenant, &Ranges::span(first, last)).await;
        let counts = counts.context("cannot count the events")?;
        let total: i64 = counts.iter().filter(|(event_type, _)| takes(event_type)).map(|(_, count)| count).sum();
        let events = if self.events.is_empty() { vec!["*".to_owned()] } else { self.events.clone() };
        Ok((total > 0).then_some(ReplayRequest { lane, since, until, events, first, last, total }))
    }
}

const UNREADABLE: &str = "cannot read the replays; has `andon migrate` been run?";

/// Prints the progress of a replay until it has ended, or until Ctrl-C.
async fn follow(client: &Client, id: i64) -> Result<ExitCode, Failure> {
    let on_one_line = std::io::stdout().is_terminal();
    let mut clock = tokio::time::interval(POLL_INTERVAL);
    let (mut last_line, mut stuck) = (String::new(), 0);
    for poll in 0_u32.. {
        tokio::select! {
            _ = clock.tick() => {}
            _ = tokio::signal::ctrl_c() => {
                screen::say(format_args!("\nthe replay continues; `andon replay --list` shows its progress, `andon replay --cancel {id}` ends it"));
                return Ok(ExitCode::SUCCESS);
            }
        }
        let standing =
            replays::list(client, Some(id)).await.context("cannot read the progress; the replay continues")?.pop();
        let standing = standing.with_context(|| format!("replay {id} is gone from andon.replays"))?;
        let has_ended = standing.state != "running";
        let line = legible::line(text::progress(&standing));
        stuck = if standing.is_stuck { stuck + 1 } else { 0 };
        let is_last = has_ended || stuck >= POLLS_STUCK;
        let is_due = on_one_line || is_last || poll % POLLS_PER_LINE == 0;
        if is_due && (line != last_line || is_last && on_one_line) {
            match on_one_line && !is_last {
                true => screen::verbatim(format_args!("\r\x1b[2K{line}")),
                false if on_one_line => screen::verbatim(format_args!("\r\x1b[2K{line}\n")),
                false => screen::say(&line),
            }
            last_line = line;
        }
        if has_ended {
            return Ok(exit_status(&standing));
        }
        if is_last {
            screen::complain(text::stuck(id));
            return Ok(ExitCode::FAILURE);
        }
    }
    unreachable!("the loop ends only by returning")
}

/// Returns the exit status, which is 0 only when everything was delivered.
fn exit_status(standing: &ReplayStatus) -> ExitCode {
    let is_complete = standing.state == "done" && standing.dead == 0 && standing.lost == 0;
    if is_complete { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
