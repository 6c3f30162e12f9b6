//! `andon capture` sees to the changes that could not be captured. In: an operator's choice. Out: lists; events that are made later; failures
//! that are acknowledged. It never changes one that was not chosen.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use clap::Subcommand;
use clap::ValueEnum;
use jiff::Timestamp;
use tokio_postgres::Client;

use crate::capture::failures;
use crate::capture::failures::Choice;
use crate::capture::failures::Failure;
use crate::capture::mapping::Operation;
use crate::capture::recover;
use crate::capture::recover::Outcome;
use crate::cli::failure::Failure as CommandFailure;
use crate::cli::options::GlobalOptions;
use crate::cli::screen;
use crate::cli::text_table;
use crate::cli::time;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, arg_required_else_help = true)]
pub(super) struct Capture {
    /// Capture the chosen changes again, or all that are open
    ///
    /// A recovered event has `"recovered": true` in its context, the time at which its capture failed (unless the mapping names another), and
    /// a place in the log behind what was captured meanwhile. The exit status is 1 when a change could not be captured this time either.
    #[arg(long, required = true)]
    again: bool,

    #[command(flatten)]
    choice: ChoiceOptions,

    /// Make the events of all rows of --table that meet this condition (SQL), as the rows are now
    #[arg(long = "where", value_name = "CONDITION", requires = "table", conflicts_with_all = ["ids", "since", "until"])]
    condition: Option<String>,

    /// The change that is assumed of the rows of --where; of an update, all columns count as changed
    #[arg(long, value_enum, default_value = "update", requires = "condition")]
    change: AssumedChange,

    /// Try everything and keep nothing
    #[arg(long)]
    dry_run: bool,

    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the changes that could not be captured, the newest first
    Errors {
        #[command(flatten)]
        choice: ChoiceOptions,

        /// List those too that were recovered or acknowledged
        #[arg(long)]
        all: bool,

        /// How many to list
        #[arg(long, default_value_t = 50, value_name = "ROWS", value_parser = clap::value_parser!(i64).range(1..))]
        limit: i64,
    },
    /// Say that the chosen changes, or all that are open, are known and that nothing more is to be done
    Acknowledge {
        #[command(flatten)]
        choice: ChoiceOptions,
    },
}

#[derive(Debug, Args)]
struct ChoiceOptions {
    /// Ids of the changes, as listed
    #[arg(value_name = "ID")]
    ids: Vec<i64>,

    /// Only those of this source
    #[arg(long, value_name = "NAME")]
    source: Option<String>,

    /// Only those of this table, by its name in the mapping
    #[arg(long, value_name = "TABLE")]
    table: Option<String>,

    /// Only those that failed at this time or later: 2026-11-20T06:00:00Z, or 2h for two hours ago
    #[arg(long, value_name = "TIME")]
    since: Option<String>,

    /// Only those that failed before this time
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum AssumedChange {
    Insert,
    Update,
}

impl ChoiceOptions {
    fn read(&self, now: Timestamp) -> Result<Choice, CommandFailure> {
        let time = |text: &Option<String>| text.as_deref().map(|text| time::parse(text, now)).transpose();
        let usage = |message: String| CommandFailure::Usage(anyhow::anyhow!(message));
        Ok(Choice {
            ids: self.ids.clone(),
            source: self.source.clone(),
            table: self.table.clone(),
            since: time(&self.since).map_err(usage)?,
            until: time(&self.until).map_err(usage)?,
        })
    }
}

impl Capture {
    pub(super) async fn run(self, global: &GlobalOptions) -> Result<ExitCode, CommandFailure> {
        let mut client = global.database()?.connect().await.map_err(anyhow::Error::from)?;
        let row = client.query_one("select clock_timestamp()", &[]).await.context("cannot read the time")?;
        let now: Timestamp = row.get(0);
        match &self.command {
            Some(Command::Errors { choice, all, limit }) => {
                let choice = choice.read(now)?;
                let listed = failures::list(&client, &choice, *all, *limit).await.context(UNREADABLE)?;
                let others = failures::open_beside(&client, &choice).await.context(UNREADABLE)?;
                screen::show(table(&listed, others));
            }
            Some(Command::Acknowledge { choice }) => {
                let choice = choice.read(now)?;
                let count = failures::acknowledge(&client, &choice).await.context(UNREADABLE)?;
                let none = none_of(count, &client, &choice).await?;
                screen::say(format_args!("acknowledged {count}{none}"));
            }
            None => return self.again(&mut client, now).await,
        }
        Ok(ExitCode::SUCCESS)
    }

    async fn again(&self, client: &mut Client, now: Timestamp) -> Result<ExitCode, CommandFailure> {
        let keeps = !self.dry_run;
        let word = if keeps { "" } else { "would have " };
        if let (Some(condition), Some(table)) = (&self.condition, &self.choice.table) {
            let operation = match self.change {
                AssumedChange::Insert => Operation::Insert,
                AssumedChange::Update => Operation::Update,
            };
            let source = self.choice.source.as_deref();
            let made = recover::from_rows(client, table, source, condition, operation, keeps).await;
            screen::say(format_args!("{word}made {} events", made.map_err(anyhow::Error::from)?));
            return Ok(ExitCode::SUCCESS);
        }
        let choice = self.choice.read(now)?;
        let outcome = recover::again(client, &choice, keeps).await.map_err(anyhow::Error::from)?;
        let Outcome { recovered, events, cut, failed } = outcome;
        let none = none_of(recovered + failed.len() as u64, client, &choice).await?;
        screen::say(format_args!("{word}recovered {recovered} changes, which made {events} events{none}"));
        if cut > 0 {
            screen::say(format_args!(
                "{cut} of them lack values that were not kept, which are those of the rows as they are now, or null where a row is gone"
            ));
        }
        for (id, reason) in failed.iter().take(SHOWN) {
            screen::complain(format_args!("change {id} cannot be captured: {reason}"));
        }
        if failed.len() > SHOWN {
            screen::complain(format_args!("{} more changes cannot be captured", failed.len() - SHOWN));
        }
        Ok(if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// How many reasons are shown.
const SHOWN: usize = 20;
const UNREADABLE: &str =
    "cannot use andon.capture_errors; has `andon migrate` been run, and are you the owner of schema andon?";

/// Returns what is to be said where nothing was chosen although something is open: a name may be mistyped.
async fn none_of(count: u64, client: &Client, choice: &Choice) -> anyhow::Result<String> {
    let others = if count == 0 { failures::open_beside(client, choice).await.context(UNREADABLE)? } else { 0 };
    Ok(if others > 0 { format!("; {}", not_chosen(others)) } else { String::new() })
}

fn not_chosen(others: i64) -> String {
    format!("none of the chosen is open, {others} others are (andon capture errors)")
}

fn table(listed: &[Failure], others: i64) -> String {
    if listed.is_empty() && others > 0 {
        return not_chosen(others) + "\n";
    }
    if listed.is_empty() {
        return "nothing is missed: every change was captured, recovered or acknowledged\n".to_owned();
    }
    let head = ["ID", "AT", "SOURCE", "TABLE", "CHANGE", "KEY", "KEPT", "STATE", "REASON"].map(str::to_owned).to_vec();
    let line = |it: &Failure| {
        let kept = match (&it.new_image, &it.old_image, &it.key) {
            (None, None, None) => "nothing".to_owned(),
            (None, None, Some(_)) => "key".to_owned(),
            _ if it.cut.is_empty() => "row".to_owned(),
            _ => format!("row without {}", it.cut.join(", ")),
        };
        let key = it.key.clone().unwrap_or_default();
        let texts = [&it.source, &it.table, &it.operation, &key, &kept, &it.state, &it.reason].map(Clone::clone);
        [it.id.to_string(), time::utc(it.at)].into_iter().chain(texts).collect()
    };
    let lines: Vec<Vec<String>> = std::iter::once(head).chain(listed.iter().map(line)).collect();
    text_table::columns(&lines)
}
