//! The program under test. In: the path of its binary, if it is not the one next to ours; the URL of a database. Out: a migrated database,
//! an attached source, a daemon. It uses the command line as a user would, and knows nothing about the inside.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use anyhow::Result;
use anyhow::bail;
use anyhow::ensure;
use rig::Daemon;
use rig::DaemonOptions;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::time::timeout;

/// How long a command may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A built `andon`.
#[derive(Debug, Clone)]
pub(crate) struct Andon {
    program: PathBuf,
}

impl Andon {
    /// Takes the given program, or the one next to our own, which is where cargo puts it.
    pub(crate) fn find(given: Option<PathBuf>) -> Result<Andon> {
        let (program, hint) = match given {
            Some(program) => (program, "--andon or ANDON_PROGRAM names no program"),
            None => {
                let own = std::env::current_exe().context("cannot find the own program")?;
                (own.with_file_name("andon"), "build it first (cargo build --bin andon, with --release for a release)")
            }
        };
        ensure!(program.is_file(), "there is no {}: {hint}", program.display());
        // The path must be absolute, because servers run in directories of their own.
        Ok(Andon { program: program.canonicalize().with_context(|| format!("cannot use {}", program.display()))? })
    }

    /// Creates schema `andon` in a database.
    pub(crate) async fn migrate(&self, database: &str) -> Result<()> {
        self.run(database, &["migrate"], "", PATIENCE).await
    }

    /// Installs the triggers of a mapping, given as its text.
    pub(crate) async fn attach(&self, database: &str, mapping: &str) -> Result<()> {
        self.run(database, &["attach", "--as-superuser", "--source", "/dev/stdin"], mapping, PATIENCE).await
    }

    /// Returns the SQL that gives a role the rights of `andon run`, without the line that only psql understands.
    pub(crate) async fn grants(&self, role: &str) -> Result<String> {
        let mut command = self.prepare("", &["grants", "--role", role]);
        let ran = timeout(PATIENCE, command.stdin(Stdio::null()).stdout(Stdio::piped()).output());
        let ran = ran.await.context("`andon grants` takes too long")??;
        ensure!(ran.status.success(), "`andon grants`: {}", String::from_utf8_lossy(&ran.stderr));
        let sql = String::from_utf8(ran.stdout)?;
        sql.split_once('\n').map(|(_, sql)| sql.to_owned()).context("`andon grants` prints nothing")
    }

    /// Asks `andon check` about a database, and returns whether all is well and what it says.
    pub(crate) async fn check(&self, database: &str) -> Result<(bool, String)> {
        let mut command = self.prepare(database, &["check"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let ran = timeout(PATIENCE, command.output()).await.context("`andon check` takes too long")??;
        Ok((
            ran.status.success(),
            [ran.stdout, ran.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat(),
        ))
    }

    /// Prepares `andon run` on a database; `start` starts it.
    pub(crate) fn daemon(&self, database: &str, options: DaemonOptions) -> Result<Daemon> {
        Daemon::prepare(&self.program, database, options)
    }

    /// Starts `andon run` on a database, with its defaults.
    pub(crate) async fn start(&self, database: &str) -> Result<Daemon> {
        let daemon = self.daemon(database, DaemonOptions::default())?;
        daemon.start().await?;
        Ok(daemon)
    }

    /// Runs another command.
    pub(crate) async fn command(&self, database: &str, arguments: &[&str], patience: Duration) -> Result<()> {
        self.run(database, arguments, "", patience).await
    }

    async fn run(&self, database: &str, arguments: &[&str], input: &str, patience: Duration) -> Result<()> {
        let name = arguments[0];
        let mut command = self.prepare(database, arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::null());
        let mut child = command.spawn().with_context(|| format!("cannot run {}", self.program.display()))?;
        if let Some(mut stdin) = child.stdin.take() {
            // If the program ends without reading, its status and its errors say why.
            drop(stdin.write_all(input.as_bytes()).await);
        }
        let ran = timeout(patience, child.wait_with_output());
        let ran = ran.await.with_context(|| format!("`andon {name}` takes too long"))??;
        if !ran.status.success() {
            bail!("`andon {name}` failed ({}):\n{}", ran.status, String::from_utf8_lossy(&ran.stderr));
        }
        Ok(())
    }

    /// Prepares a command on a database; the caller says what becomes of its input and output.
    fn prepare(&self, database: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            // The configuration of the user is for a database of their own.
            .args(["--config", "/dev/null"])
            .env("ANDON_DATABASE_URL", database)
            .envs([rig::daemon::allow_loopback()])
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }
}
