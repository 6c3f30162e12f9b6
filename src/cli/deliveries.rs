//! `andon deliveries` shows parked deliveries, retries them and discards them. In: the ledger, and an operator's choice. Out: tables for
//! people or JSON for machines, and a line for what became of the chosen deliveries. It never changes one that was not chosen.

mod text;

use std::collections::BTreeSet;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use clap::Subcommand;
use clap::ValueEnum;
use tokio_postgres::Client;

use crate::cli::failure::Failure;
use crate::cli::find_lanes;
use crate::cli::options::GlobalOptions;
use crate::cli::screen;
use crate::destination::LaneName;
use crate::ledger::Selection;
use crate::ledger::StateChange;
use crate::ledger::deliveries;
use crate::ledger::overview;
use crate::ledger::overview::Filter;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Deliveries {
    #[command(flatten)]
    list: ListOptions,

    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Args)]
struct ListOptions {
    /// List only deliveries to this destination
    #[arg(long, value_name = "NAME or LANE")]
    destination: Option<String>,

    /// List only deliveries in this state
    #[arg(long, value_enum)]
    state: Option<ParkedState>,

    /// How many deliveries to list; the counts above the list are always complete
    #[arg(long, default_value_t = 20, value_name = "ROWS", value_parser = clap::value_parser!(i64).range(0..))]
    limit: i64,

    /// Print one JSON document, for machines
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show all about one delivery: its event, its payload, each attempt and its answer
    Show {
        /// Id of the delivery, as listed
        id: i64,
    },
    /// Try deliveries again now, marked as replayed
    ///
    /// With --destination these are the dead ones and those that would be tried again later (`retry`), whose next attempt is now.
    ///
    /// The order of each job or machine is kept: a delivery waits for earlier ones of the same job or machine. If it fails again, its
    /// schedule continues where it was; if the schedule had ended, the delivery is dead again.
    Retry(SelectOptions),
    /// Delete deliveries for good
    ///
    /// They are never delivered. Deliveries that waited for them continue.
    Discard(SelectOptions),
}

#[derive(Debug, Args)]
struct SelectOptions {
    /// Ids of the deliveries, as listed
    #[arg(value_name = "ID", required_unless_present = "destination", conflicts_with = "destination")]
    ids: Vec<i64>,

    /// Select all deliveries to this destination that are in the state of --state
    #[arg(long, value_name = "NAME or LANE")]
    destination: Option<String>,

    /// The state for --destination; without it, `retry` takes those that are dead or in retry, and `discard` the dead ones alone
    #[arg(long, value_enum, requires = "destination")]
    state: Option<ParkedState>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ParkedState {
    Dead,
    Retry,
    Waiting,
}

impl ParkedState {
    fn name(self) -> &'static str {
        match self {
            ParkedState::Dead => "dead",
            ParkedState::Retry => "retry",
            ParkedState::Waiting => "waiting",
        }
    }
}

impl Deliveries {
    pub(super) async fn run(self, global: &GlobalOptions) -> Result<ExitCode, Failure> {
        let mut client = global.database()?.connect().await.map_err(anyhow::Error::from)?;
        match self.command {
            None => list(&client, &self.list).await?,
            Some(Command::Show { id }) => show(&client, id).await?,
            Some(Command::Retry(options)) => {
                if matches!(options.state, Some(ParkedState::Waiting)) {
                    return Err(Failure::Usage(anyhow::anyhow!(
                        "a waiting delivery is due when the one that it waits for is done; retry that one: --state retry"
                    )));
                }
                return apply(&mut client, options, Action::Retry).await;
            }
            Some(Command::Discard(options)) => return apply(&mut client, options, Action::Discard).await,
        }
        Ok(ExitCode::SUCCESS)
    }
}

async fn list(client: &Client, options: &ListOptions) -> Result<(), Failure> {
    let lanes = match &options.destination {
        Some(name) => Some(find_lanes::lanes(client, name).await?),
        None => None,
    };
    let filter = Filter { lanes, state: options.state.map(ParkedState::name) };
    let now = overview::now(client).await.context("cannot read the ledger; has `andon migrate` been run?")?;
    let counts = overview::counts(client, &filter).await.context("cannot count the parked deliveries")?;
    let rows = overview::list(client, &filter, options.limit).await.context("cannot list the parked deliveries")?;
    if options.json {
        screen::document(text::json(&counts, &rows));
    } else {
        let known = overview::destinations(client).await.context("cannot read andon.lanes")?;
        screen::show(text::list(now, &counts, &rows, &known));
    }
    Ok(())
}

async fn show(client: &Client, id: i64) -> Result<(), Failure> {
    let now = overview::now(client).await.context("cannot read the ledger; has `andon migrate` been run?")?;
    let story = overview::details(client, id).await.with_context(|| format!("cannot read delivery {id}"))?;
    let story = story
        .with_context(|| format!("delivery {id} is not parked: it was delivered or discarded, or it never existed"))?;
    screen::show(text::story(now, &story));
    Ok(())
}

#[derive(Debug, Clone, Copy)]
enum Action {
    Retry,
    Discard,
}

impl Action {
    /// Returns the states of the deliveries that it takes of a destination. Once an endpoint is mended, a retry helps those that wait for their
    /// time as it helps the dead ones, and what waits behind them; to be given up is only what is dead.
    fn states(self, wanted: Option<ParkedState>) -> Vec<&'static str> {
        match (wanted, self) {
            (Some(state), _) => vec![state.name()],
            (None, Action::Retry) => vec![ParkedState::Dead.name(), ParkedState::Retry.name()],
            (None, Action::Discard) => vec![ParkedState::Dead.name()],
        }
    }
}

/// Retries or discards the selected deliveries. The exit status is 1 when one of the given ids cannot be retried or discarded.
async fn apply(client: &mut Client, mut options: SelectOptions, action: Action) -> Result<ExitCode, Failure> {
    // An id that is given twice is one delivery.
    options.ids.sort_unstable();
    options.ids.dedup();
    let mut absent: Vec<i64> = Vec::new();
    let choice = match &options.destination {
        Some(name) => {
            Selection::InStates(LaneName(find_lanes::one_lane(client, name).await?), action.states(options.state))
        }
        None => {
            let known: BTreeSet<i64> =
                overview::known(client, &options.ids).await.context("cannot read the ledger")?.into_iter().collect();
            absent.extend(options.ids.iter().filter(|id| !known.contains(id)));
            Selection::Ids(options.ids.clone())
        }
    };
    let handled = change(client, &choice, action).await.context("nothing was changed")?;
    let destinations = overview::destinations(client).await.context("cannot read andon.lanes")?;
    screen::show(text::handled(&handled, &destinations));
    let count: i64 = handled.iter().map(|handled| handled.count).sum();
    if let Selection::InStates(lane, states) = &choice {
        let wanted = states.iter().map(|state| text::in_state(state)).collect::<Vec<_>>().join(" or ");
        match action {
            _ if count > 0 => screen::say(text::sum(&handled)),
            Action::Retry => screen::say(format_args!("nothing is {wanted} for {lane} that a retry can deliver")),
            Action::Discard => screen::say(format_args!("nothing is {wanted} for {lane}")),
        }
    }
    for id in &absent {
        screen::complain(format_args!(
            "delivery {id} is not parked: it was delivered or discarded, or it never existed"
        ));
    }
    let left = options.ids.len() - absent.len();
    if matches!((&choice, action), (Selection::Ids(_), Action::Retry)) && (count as usize) < left {
        screen::complain(format_args!(
            "{} stay as they are: they wait behind an earlier event of the same entity (retry that one), or their data is not in the \
            ledger (see their reasons)",
            left - count as usize
        ));
        return Ok(ExitCode::FAILURE);
    }
    Ok(if absent.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn change(
    client: &mut Client,
    choice: &Selection,
    action: Action,
) -> Result<Vec<StateChange>, tokio_postgres::Error> {
    let transaction = client.transaction().await?;
    let handled = match action {
        Action::Retry => deliveries::retry(&transaction, choice).await?,
        Action::Discard => deliveries::discard(&transaction, choice).await?,
    };
    transaction.commit().await?;
    Ok(handled)
}
