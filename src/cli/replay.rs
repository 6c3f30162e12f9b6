//! `andon replay`: a stretch of the log, delivered again. In: a destination, times and types of events. Out: a replay that the daemons
//! carry out beside the live flow, and how far it is. It delivers nothing itself.

mod text;

use std::io::IsTerminal as _;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use anyhow::anyhow;
use clap::Args;
use jiff::Timestamp;
use tokio_postgres::Client;

use crate::cli::Failure;
use crate::cli::Place;
use crate::cli::destination;
use crate::cli::time;
use crate::config::Config;
use crate::database::Database;
use crate::destination::Defaults;
use crate::destination::LaneName;
use crate::gateway::destinations;
use crate::ledger::overview;
use crate::ledger::replays;
use crate::ledger::replays::ReplayRequest;
use crate::ledger::replays::ReplayStatus;
use crate::log::partitions;
use crate::log::time_range;
use crate::ranges::Ranges;
use crate::router::EventPattern;

#[derive(Debug, Args)]
pub(super) struct Replay {
    /// Which destination gets them again
    #[arg(long, value_name = "NAME or LANE", required_unless_present_any = ["list", "cancel"])]
    destination: Option<String>,

    /// From when on: a time such as 2026-11-20T06:00:00Z, or how long ago, such as 2h
    #[arg(long, value_name = "TIME", required_unless_present_any = ["list", "cancel"])]
    since: Option<String>,

    /// Until when [default: now]
    #[arg(long, value_name = "TIME")]
    until: Option<String>,

    /// Only events such as `job.created` or `operation.*`, of those that the destination takes; may be given several times
    #[arg(long = "event", value_name = "PATTERN")]
    events: Vec<String>,

    /// Where the log does not reach back that far: what there is
    #[arg(long)]
    partial: bool,

    /// Show the replays, and how far they are
    #[arg(long, conflicts_with_all = ["destination", "since", "until", "events", "partial", "cancel"])]
    list: bool,

    /// End a replay before its time
    #[arg(long, value_name = "ID", conflicts_with_all = ["destination", "since", "until", "events", "partial"])]
    cancel: Option<i64>,
}

/// Between two looks at how far it is.
const LOOK: Duration = Duration::from_millis(500);
/// Between two lines about it, where they are not written over each other.
const LINES: u32 = 20;

impl Replay {
    pub(super) async fn run(self, place: &Place) -> Result<ExitCode, Failure> {
        let config = place.load()?;
        let database = Database::new(&config.database).map_err(|error| Failure::Usage(error.into()))?;
        let client = database.connect().await.map_err(anyhow::Error::from)?;
        let now = overview::now(&client).await.context("cannot ask for the time")?;
        if self.list {
            print!("{}", text::list(now, &replays::list(&client, None).await.context(UNREADABLE)?));
            return Ok(ExitCode::SUCCESS);
        }
        if let Some(id) = self.cancel {
            if !replays::cancel(&client, id).await.context(UNREADABLE)? {
                return Err(Failure::Fault(anyhow!(
                    "replay {id} does not run; `andon replay --list` shows those that do"
                )));
            }
            println!("replay {id} is cancelled; what it delivered stays delivered");
            return Ok(ExitCode::SUCCESS);
        }
        let Some(request) = self.request(&client, config, now).await? else {
            println!("there is nothing to deliver again");
            return Ok(ExitCode::SUCCESS);
        };
        let id = replays::request(&client, &request).await.context("cannot ask for a replay; nothing was changed")?;
        println!("{}", text::asked(id, &request));
        watch(&client, id).await
    }

    /// Finds out what it comes to; none for nothing.
    async fn request(&self, client: &Client, config: Config, now: Timestamp) -> Result<Option<ReplayRequest>, Failure> {
        let usage = |message: String| Failure::Usage(anyhow!(message));
        let since = time::parse(self.since.as_deref().unwrap_or_default(), now).map_err(usage)?;
        let until = self.until.as_deref().map_or(Ok(now), |text| time::parse(text, now)).map_err(usage)?;
        let filter = self.events.iter().map(|text| EventPattern::parse(text)).collect::<Result<Vec<_>, _>>();
        let filter = filter.map_err(|error| Failure::Usage(error.into()))?;
        let lane = LaneName(destination::one_lane(client, self.destination.as_deref().unwrap_or_default()).await?);
        let reach = time_range::forgotten(client).await.context(UNREADABLE)?;
        if let Some(reach) = reach.filter(|reach| since <= *reach && !self.partial) {
            let message = format!("the log reaches back to {reach} only; replay what there is with --partial");
            return Err(Failure::Fault(anyhow!(message)));
        }
        let defaults = Defaults { mqtt: config.mqtt, webhook: config.webhook };
        let listed = destinations::list(client, &defaults).await.context("cannot read the destinations")?;
        let listed = listed.into_iter().find(|listed| listed.lane == lane);
        let listed = listed.ok_or_else(|| anyhow!("{lane} is not active; nothing can be delivered to it"))?;
        let route = listed.usable.map_err(|reasons| anyhow!(reasons.join("\n")))?.route;
        let Some((first, last)) = time_range::between(client, since, until).await.context("cannot read the log")?
        else {
            return Ok(None);
        };
        let takes = |kind: &str| {
            let is_asked = filter.is_empty() || filter.iter().any(|pattern| pattern.matches(kind));
            is_asked && route.events.iter().any(|pattern| pattern.matches(kind))
        };
        let counts = partitions::count(client, &route.tenant, &Ranges::span(first, last)).await;
        let counts = counts.context("cannot count the events")?;
        let total: i64 = counts.iter().filter(|(kind, _)| takes(kind)).map(|(_, count)| count).sum();
        let events = if self.events.is_empty() { vec!["*".to_owned()] } else { self.events.clone() };
        Ok((total > 0).then_some(ReplayRequest { lane, since, until, events, first, last, total }))
    }
}

const UNREADABLE: &str = "cannot read the replays; has `andon migrate` been run?";

/// Tells how far a replay is until it is over, or until nobody wants to know.
async fn watch(client: &Client, id: i64) -> Result<ExitCode, Failure> {
    let on_one_line = std::io::stdout().is_terminal();
    let mut clock = tokio::time::interval(LOOK);
    let mut said = String::new();
    for look in 0_u32.. {
        tokio::select! {
            _ = clock.tick() => {}
            _ = tokio::signal::ctrl_c() => {
                println!("\nit goes on; `andon replay --list` shows how far it is, `andon replay --cancel {id}` ends it");
                return Ok(ExitCode::SUCCESS);
            }
        }
        let status = replays::list(client, Some(id)).await.context("cannot see how far it is; it goes on")?.pop();
        let status = status.with_context(|| format!("replay {id} is gone from andon.replays"))?;
        let is_over = status.state != "running";
        let says = text::progress(&status);
        let is_due = on_one_line || is_over || look % LINES == 0;
        if says != said && is_due {
            match on_one_line && !is_over {
                true => print!("\r\x1b[2K{says}"),
                false if on_one_line => println!("\r\x1b[2K{says}"),
                false => println!("{says}"),
            }
            std::io::stdout().flush().context("cannot write")?;
            said = says;
        }
        if is_over {
            return Ok(exit_code(&status));
        }
    }
    unreachable!("it looks for as long as it takes")
}

fn exit_code(status: &ReplayStatus) -> ExitCode {
    let is_complete = status.state == "done" && status.dead == 0 && status.lost == 0;
    if is_complete { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
