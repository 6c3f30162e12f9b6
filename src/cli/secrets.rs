//! `andon secrets` keeps the secrets of destinations out of plain text. In: a secret on standard input, or the tables as they are. Out: a sealed
//! value in its column, and a line that says so. No secret is ever an argument, which others on the host could see.

use std::fs::OpenOptions;
use std::io::IsTerminal as _;
use std::io::Read as _;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use anyhow::anyhow;
use clap::Args;
use clap::Subcommand;
use tokio_postgres::Client;
use tokio_postgres::GenericClient;

use crate::cli::failure::Failure;
use crate::cli::names;
use crate::cli::options::GlobalOptions;
use crate::cli::screen;
use crate::config::Config;
use crate::database::Database;
use crate::sealing::Key;
use crate::sealing::Keys;
use crate::secret::Secret;
use crate::secrets;
use crate::secrets::FoundRow;
use crate::secrets::Owner;

#[derive(Debug, Subcommand)]
pub(super) enum Secrets {
    /// Make a key, in a new file that only you can read
    ///
    /// Name the file in secrets.keys of the configuration, as the first of them, and start the daemons again. Keep a copy where no copy
    /// of the database is: without the key, nobody reads the secrets that it sealed.
    NewKey {
        /// The file
        file: PathBuf,
    },
    /// Seal the secret on standard input, and write it into a destination's row
    Set(Set),
    /// Seal everything with the first key: what was sealed with another, and what stands in plain text
    ///
    /// It works while daemons run, row by row: no lane restarts, and no edit that is made meanwhile is overwritten. It refuses as long as a
    /// daemon runs that does not hold the new key. Afterwards the other keys can be removed.
    RotateKey,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(super) struct Destination {
    /// The webhook, by its name, its lane or the key of its row
    #[arg(long, value_name = "NAME or LANE")]
    webhook: Option<String>,

    /// The MQTT publisher, by its name, its lane or the key of its row
    #[arg(long, value_name = "NAME or LANE")]
    publisher: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Set {
    #[command(flatten)]
    destination: Destination,

    /// The column: of a webhook `secret_key`, `previous_secret_key`, `url`, `headers`, `password`, `token`, `oauth_token_url`,
    /// `oauth_client_secret` or `settings.client_key`, and of a publisher `password` or `settings.client_key`
    column: String,
}

impl Secrets {
    pub(super) async fn run(self, global: &GlobalOptions) -> Result<ExitCode, Failure> {
        match self {
            Secrets::NewKey { file } => new_key(&file)?,
            Secrets::Set(command) => command.run(global).await?,
            Secrets::RotateKey => return rotate(global).await,
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The most bytes of a secret, which is what the row of a destination may hold in one column.
const LONGEST: u64 = 16 << 10;

fn new_key(file: &Path) -> anyhow::Result<()> {
    let key = Key::generate();
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
    let mut made = made.with_context(|| format!("cannot make `{}`", file.display()))?;
    writeln!(made, "{}", key.text()).and_then(|()| made.sync_all()).context("cannot write the key")?;
    screen::say(format_args!(
        "made key {} in {}; name the file first in secrets.keys, and start the daemons again",
        key.id(),
        file.display()
    ));
    Ok(())
}

impl Set {
    async fn run(self, global: &GlobalOptions) -> Result<(), Failure> {
        let (owner, called) = match (&self.destination.webhook, &self.destination.publisher) {
            (Some(name), _) => (Owner::Webhook, name),
            (None, name) => (Owner::Publisher, name.as_ref().ok_or_else(|| usage("name a destination"))?),
        };
        if !owner.columns().contains(&self.column.as_str()) {
            let columns = owner.columns().join(", ");
            return Err(usage(format!("`{}` of {owner} holds no secret; its secrets are {columns}", self.column)));
        }
        let config = global.load()?;
        let key = keyed(&config.keys)?;
        let secret = from_standard_input()?;
        let client = connect(&config).await?;
        held_by_all(&client, &config.keys).await?;
        let row = one(&client, owner, called).await?;
        let is_set = secrets::set(&client, &row, &self.column, &secret, &config.keys).await;
        if !is_set.with_context(|| format!("cannot write {}", self.column))? {
            return Err(Failure::Fault(anyhow!("`{called}` has been removed meanwhile")));
        }
        screen::say(format_args!("sealed {} of `{called}` with key {key}", self.column));
        Ok(())
    }
}

/// Finds the only row that is called so.
pub(super) async fn one(client: &impl GenericClient, owner: Owner, called: &str) -> Result<FoundRow, Failure> {
    let mut found = secrets::find(client, owner, called).await.with_context(|| format!("cannot read {owner}"))?;
    match (found.pop(), found.len()) {
        (Some(row), 0) => Ok(row),
        (None, _) => Err(usage(format!("no row of {owner} is called `{called}`; name it by its name or its id"))),
        (last, _) => {
            found.extend(last);
            let ids: Vec<String> = found.iter().map(|row| names::with_tenant(&row.id, &row.tenant)).collect();
            let (count, ids) = (found.len(), ids.join("\n  "));
            Err(usage(format!("{count} rows of {owner} are called `{called}`; name one by its id:\n  {ids}")))
        }
    }
}

/// Reads the secret as it stands there, but for one newline at its end, which editors and `echo` put there.
fn from_standard_input() -> Result<Secret, Failure> {
    if std::io::stdin().is_terminal() {
        return Err(usage("give the secret on standard input, such as from a file: `andon secrets set … < FILE`"));
    }
    let mut text = String::new();
    std::io::stdin().take(LONGEST + 1).read_to_string(&mut text).context("cannot read the secret")?;
    let text = text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    if text.trim().is_empty() || text.len() as u64 > LONGEST || text.contains('\0') {
        return Err(usage(format!("the secret is empty, longer than {LONGEST} bytes, or contains a NUL")));
    }
    Ok(Secret::new(text.to_owned()))
}

async fn rotate(global: &GlobalOptions) -> Result<ExitCode, Failure> {
    let config = global.load()?;
    let first = keyed(&config.keys)?;
    let client = connect(&config).await?;
    held_by_all(&client, &config.keys).await?;
    let done = secrets::seal_all(&client, &config.keys).await.context("cannot seal the secrets")?;
    screen::say(format_args!(
        "sealed with key {first}: {} from plain text, {} from other keys",
        done.from_plain, done.from_other_keys
    ));
    for shut in &done.shut {
        screen::complain(shut);
    }
    if done.is_unfinished {
        screen::complain("somebody changes secrets at the same time; run it again");
    }
    Ok(if done.shut.is_empty() && !done.is_unfinished { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

pub(super) async fn connect(config: &Config) -> Result<Client, Failure> {
    let database = Database::new(&config.database).map_err(|error| Failure::Usage(error.into()))?;
    Ok(database.connect().await.map_err(anyhow::Error::from)?)
}

/// Refuses to seal anything that a daemon could not open which runs now: it could not take over for the others.
pub(super) async fn held_by_all(client: &impl GenericClient, keys: &Keys) -> Result<(), Failure> {
    let Some((name, id)) = keys.first() else { return Ok(()) };
    let lacking = secrets::lacking(client, id).await.context("cannot read andon.daemons")?;
    if lacking.is_empty() {
        return Ok(());
    }
    let lacking: Vec<String> = lacking.iter().map(|lacking| format!("{lacking}: {}", lacking.cure())).collect();
    Err(Failure::Fault(anyhow!(
        "nothing is sealed with key `{name}` ({id}) yet: {}; then repeat this",
        lacking.join("; ")
    )))
}

fn keyed(keys: &Keys) -> Result<&str, Failure> {
    keys.first().map(|(name, _)| name).ok_or_else(|| {
        usage("the configuration names no key in secrets.keys; make one with `andon secrets new-key FILE`, name it there, and start the daemons again")
    })
}

fn usage(message: impl std::fmt::Display) -> Failure {
    Failure::Usage(anyhow!("{message}"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn the_help_of_set_names_every_column_that_can_be_set() {
        let mut command = Cli::command();
        let set = command.find_subcommand_mut("secrets").and_then(|it| it.find_subcommand_mut("set")).unwrap();
        let help = set.render_long_help().to_string();

        for column in Owner::Webhook.columns().iter().chain(Owner::Publisher.columns()) {
            assert!(help.contains(&format!("`{column}`")), "{column} is not in {help}");
        }
    }
}
