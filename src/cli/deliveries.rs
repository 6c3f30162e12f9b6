//! `andon deliveries`: what is parked, and what is to become of it. In: the ledger, and an operator's word. Out: tables for people, JSON
//! for machines; deliveries that are due again, or gone. It never touches one that was not chosen, and says what became of each.

mod text;

use std::collections::BTreeSet;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use clap::Subcommand;
use clap::ValueEnum;
use tokio_postgres::Client;

use crate::cli::Failure;
use crate::cli::Place;
use crate::cli::destination;
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
    list: List,

    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Args)]
struct List {
    /// Only those to this destination
    #[arg(long, value_name = "NAME or LANE")]
    destination: Option<String>,

    /// Only those in this state
    #[arg(long, value_enum)]
    state: Option<State>,

    /// How many to list; the counts above the list are always of all
    #[arg(long, default_value_t = 20, value_name = "ROWS", value_parser = clap::value_parser!(i64).range(0..))]
    limit: i64,

    /// One JSON document, for machines
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// All about one: its event, its payload, what was tried and what was answered
    Show {
        /// As it is listed
        id: i64,
    },
    /// Try again now, marked as replayed
    ///
    /// The order of each job or machine stays: a delivery with an earlier one in front of it waits for that. One that fails again
    /// goes on in its schedule where it was; if that had ended, it is dead again.
    Retry(Chosen),
    /// Delete for good
    ///
    /// They are never delivered. What waited behind them goes on.
    Discard(Chosen),
}

#[derive(Debug, Args)]
struct Chosen {
    /// As they are listed
    #[arg(value_name = "ID", required_unless_present = "destination", conflicts_with = "destination")]
    ids: Vec<i64>,

    /// All to this destination that are in the state
    #[arg(long, value_name = "NAME or LANE")]
    destination: Option<String>,

    /// See --destination
    #[arg(long, value_enum, default_value = "dead", requires = "destination")]
    state: State,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum State {
    Dead,
    Retry,
    Waiting,
}

impl State {
    fn name(self) -> &'static str {
        match self {
            State::Dead => "dead",
            State::Retry => "retry",
            State::Waiting => "waiting",
        }
    }
}

impl Deliveries {
    pub(super) async fn run(self, place: &Place) -> Result<ExitCode, Failure> {
        let mut client = place.database()?.connect().await.map_err(anyhow::Error::from)?;
        match self.command {
            None => list(&client, &self.list).await?,
            Some(Command::Show { id }) => show(&client, id).await?,
            Some(Command::Retry(chosen)) => {
                if matches!((&chosen.destination, chosen.state), (Some(_), State::Waiting)) {
                    return Err(Failure::Usage(anyhow::anyhow!(
                        "what waits is due when what is in front of it is done; retry that: --state retry"
                    )));
                }
                return act(&mut client, chosen, Act::Retry).await;
            }
            Some(Command::Discard(chosen)) => return act(&mut client, chosen, Act::Discard).await,
        }
        Ok(ExitCode::SUCCESS)
    }
}

async fn list(client: &Client, asked: &List) -> Result<(), Failure> {
    let lanes = match &asked.destination {
        Some(name) => Some(destination::lanes(client, name).await?),
        None => None,
    };
    let filter = Filter { lanes, state: asked.state.map(State::name) };
    let now = overview::now(client).await.context("cannot read the ledger; has `andon migrate` been run?")?;
    let counts = overview::counts(client, &filter).await.context("cannot count the parked deliveries")?;
    let rows = overview::list(client, &filter, asked.limit).await.context("cannot list the parked deliveries")?;
    if asked.json {
        println!("{}", text::json(&counts, &rows));
    } else {
        print!("{}", text::list(now, &counts, &rows));
    }
    Ok(())
}

async fn show(client: &Client, id: i64) -> Result<(), Failure> {
    let now = overview::now(client).await.context("cannot read the ledger; has `andon migrate` been run?")?;
    let details = overview::details(client, id).await.with_context(|| format!("cannot read delivery {id}"))?;
    let details =
        details.with_context(|| format!("delivery {id} is not parked: it was delivered, discarded, or never was"))?;
    print!("{}", text::details(now, &details));
    Ok(())
}

#[derive(Debug, Clone, Copy)]
enum Act {
    Retry,
    Discard,
}

/// Status 1 when there was nothing to do for one of those that were named.
async fn act(client: &mut Client, chosen: Chosen, act: Act) -> Result<ExitCode, Failure> {
    let mut absent: Vec<i64> = Vec::new();
    let selection = match &chosen.destination {
        Some(name) => Selection::InState(LaneName(destination::one_lane(client, name).await?), chosen.state.name()),
        None => {
            let known: BTreeSet<i64> =
                overview::known(client, &chosen.ids).await.context("cannot read the ledger")?.into_iter().collect();
            absent.extend(chosen.ids.iter().filter(|id| !known.contains(id)));
            Selection::Ids(chosen.ids.clone())
        }
    };
    let changes = carry_out(client, &selection, act).await.context("nothing was changed")?;
    let destinations = overview::destinations(client).await.context("cannot read andon.lanes")?;
    print!("{}", text::changes(&changes, &destinations));
    let count: i64 = changes.iter().map(|it| it.count).sum();
    if let Selection::InState(lane, state) = &selection
        && count == 0
    {
        println!("nothing is {state} for {lane}");
    }
    for id in &absent {
        eprintln!("andon: delivery {id} is not parked: it was delivered, discarded, or never was");
    }
    let left = chosen.ids.len() - absent.len();
    if matches!((&selection, act), (Selection::Ids(_), Act::Retry)) && (count as usize) < left {
        eprintln!("andon: {} wait behind an earlier event of the same entity; retry that", left - count as usize);
        return Ok(ExitCode::FAILURE);
    }
    Ok(if absent.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn carry_out(
    client: &mut Client,
    selection: &Selection,
    act: Act,
) -> Result<Vec<StateChange>, tokio_postgres::Error> {
    let transaction = client.transaction().await?;
    let changes = match act {
        Act::Retry => deliveries::retry(&transaction, selection).await?,
        Act::Discard => deliveries::discard(&transaction, selection).await?,
    };
    transaction.commit().await?;
    Ok(changes)
}
