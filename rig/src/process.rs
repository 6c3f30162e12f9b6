//! Programs as throw-away servers. In: a command line. Out: a server with a directory of its own. Both vanish when their owner ends, even
//! if SIGKILL ended it: a small shell, the keeper, reads from a pipe that the owner holds, and ends the server when the pipe closes.

use std::ffi::OsString;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::ChildStdin;
use std::process::Command;
use std::process::Stdio;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context;
use anyhow::Result;
use anyhow::anyhow;
use anyhow::bail;
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use nix::unistd::Uid;
use nix::unistd::User;
use tokio::sync::watch;

/// How long a server may take to start or to end before that counts as a failure. It is generous because the machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(60);

const KEEPER: &str = include_str!("keeper.sh");

/// Finds a program in `PATH` or in the distribution's own directories. The error for an absent program names its package.
pub fn program(name: &str, package: &str) -> Result<PathBuf> {
    let from_path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&from_path)
        .chain(distribution_directories())
        .map(|directory| directory.join(name))
        .find(|candidate| is_executable(candidate))
        .ok_or_else(|| anyhow!("`{name}` not found: install the package {package} (apt-get install {package})"))
}

/// Returns a port of 127.0.0.1 that nobody listens on at this moment.
pub fn free_port() -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("no free port on 127.0.0.1")?;
    Ok(listener.local_addr()?.port())
}

/// Returns the user that servers run as, if it is not our own: PostgreSQL refuses to run as root, and mosquitto gives root up.
pub fn server_user() -> Result<Option<User>> {
    if !Uid::effective().is_root() {
        return Ok(None);
    }
    for name in ["postgres", "nobody"] {
        if let Some(user) = User::from_name(name).context("cannot read the users of this machine")? {
            return Ok(Some(user));
        }
    }
    bail!("servers cannot run as root, and there is neither a user `postgres` nor `nobody`: add one")
}

/// Makes a command that runs as `user`, without the groups of root, in a directory that this user can enter.
pub fn command_as(program: &Path, user: Option<&User>) -> Command {
    let mut command = Command::new(program);
    command.current_dir("/").env("LC_ALL", "C.UTF-8");
    if let Some(user) = user {
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
    }
    command
}

/// How a server is started.
pub struct ServerOptions {
    /// A word that appears in the name of the directory and in messages.
    pub name: &'static str,
    /// The command. It must serve in the foreground.
    pub command: Vec<OsString>,
    /// Variables in addition to our own environment.
    pub environment: Vec<(OsString, OsString)>,
    /// The user it runs as, if not our own.
    pub user: Option<User>,
    /// The signal that ends it when the owner is gone.
    pub end: Signal,
}

/// The state of the server, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Never started.
    New,
    /// Running, with this process id.
    Running(i32),
    /// Ended with this status, in the way of a shell: 128 plus the number of the signal if a signal ended it.
    Ended(i32),
}

/// A server with its directory and its keeper.
pub struct Server {
    name: &'static str,
    directory: PathBuf,
    user: Option<User>,
    keeper: Child,
    lifeline: Option<ChildStdin>,
    state: watch::Receiver<State>,
}

impl Server {
    /// Makes the directory and starts the keeper. The server itself starts later, so that files can be put in place. `options` gets the
    /// path of the directory.
    pub fn prepare(options: impl FnOnce(&Path) -> Result<ServerOptions>) -> Result<Server> {
        let directory = unused_directory();
        let options = options(&directory)?;
        let mut keeper = command_as(Path::new("/bin/sh"), options.user.as_ref())
            .arg("-c")
            .arg(KEEPER)
            .arg(format!("andon-rig-{}", options.name))
            .arg(&directory)
            .arg(options.end.as_str().trim_start_matches("SIG"))
            .args(&options.command)
            .envs(options.environment)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start a shell for {}", options.name))?;
        let lifeline = keeper.stdin.take();
        let mut reports = BufReader::new(keeper.stdout.take().context("the keeper has no output")?);
        let mut first = String::new();
        reports.read_line(&mut first).context("cannot read from the keeper")?;
        if first != "ready\n" {
            bail!(
                "cannot make the directory {}: is it writable for {}?",
                directory.display(),
                name_of(options.user.as_ref())
            );
        }
        let (sender, state) = watch::channel(State::New);
        std::thread::Builder::new().name(format!("rig-{}", options.name)).spawn(move || {
            for line in reports.lines().map_while(Result::ok) {
                let report = match line.split_once(' ') {
                    Some(("pid", number)) => number.parse().map(State::Running),
                    Some(("ended", status)) => status.parse().map(State::Ended),
                    _ => continue,
                };
                sender.send_replace(report.unwrap_or(State::New));
            }
        })?;
        Ok(Server { name: options.name, directory, user: options.user, keeper, lifeline, state })
    }

    /// Returns the directory that vanishes with the server.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Returns the file that the server's output goes to.
    pub fn log_path(&self) -> PathBuf {
        self.directory.join("log")
    }

    /// Returns the end of the server's output, for messages.
    pub fn log_tail(&self) -> String {
        let log = std::fs::read(self.log_path()).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    /// Writes a file that the server can read into the directory.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> Result<PathBuf> {
        let path = self.directory.join(name);
        std::fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
        if let Some(user) = &self.user {
            std::os::unix::fs::chown(&path, Some(user.uid.as_raw()), Some(user.gid.as_raw()))
                .with_context(|| format!("cannot give {} to {}", path.display(), user.name))?;
        }
        Ok(path)
    }

    /// Starts the server and returns once it has a process id. It may not serve yet; see [`Server::wait_ready`].
    pub fn start(&mut self) -> Result<i32> {
        self.state.mark_unchanged();
        let lifeline = self.lifeline.as_mut().context("the keeper is gone")?;
        lifeline.write_all(b"start\n").with_context(|| format!("the keeper of {} is gone", self.name))?;
        let deadline = Instant::now() + PATIENCE;
        // Waiting for `Running` would not do, because the server may have ended again already.
        while !self.state.has_changed().unwrap_or(true) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(2));
        }
        self.pid().ok_or_else(|| anyhow!("{} ended at once:\n{}", self.name, self.log_tail()))
    }

    /// Returns its process id while it runs.
    pub fn pid(&self) -> Option<i32> {
        match *self.state.borrow() {
            State::Running(pid) => Some(pid),
            State::New | State::Ended(_) => None,
        }
    }

    /// Follows the server's state.
    pub fn state(&self) -> watch::Receiver<State> {
        self.state.clone()
    }

    /// Sends a signal, if it runs.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let Some(pid) = self.pid() else { return Ok(()) };
        match nix::sys::signal::kill(Pid::from_raw(pid), signal) {
            // It ended at this moment, which the keeper is about to report.
            Ok(()) | Err(nix::errno::Errno::ESRCH) => Ok(()),
            Err(errno) => Err(errno).with_context(|| format!("cannot send {signal} to {} ({pid})", self.name)),
        }
    }

    /// Sends a signal and waits until the server has ended. The directory stays.
    pub fn end(&mut self, signal: Signal) -> Result<()> {
        if self.pid().is_none() {
            return Ok(());
        }
        self.signal(signal)?;
        let deadline = Instant::now() + PATIENCE;
        while self.pid().is_some() {
            if Instant::now() > deadline {
                bail!("{} did not end within {PATIENCE:?}; its log ends with:\n{}", self.name, self.log_tail());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// Waits until `is_ready` says so. If the server ends before that or takes too long, the error shows its log.
    pub fn wait_ready(&self, is_ready: impl FnMut() -> bool) -> Result<()> {
        self.wait_ready_within(PATIENCE, is_ready)
    }

    /// Waits for a server that takes longer than others.
    pub fn wait_ready_within(&self, patience: Duration, mut is_ready: impl FnMut() -> bool) -> Result<()> {
        let deadline = Instant::now() + patience;
        while !is_ready() {
            if self.pid().is_none() {
                bail!("{} did not start; its log ends with:\n{}", self.name, self.log_tail());
            }
            if Instant::now() > deadline {
                bail!("{} is not ready after {patience:?}; its log ends with:\n{}", self.name, self.log_tail());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Ends the server and removes the directory. Dropping does the same.
    pub fn remove(&mut self) {
        self.lifeline = None;
        // This wait is short, because the keeper kills a server that does not end when asked.
        if let Err(error) = self.keeper.wait() {
            tracing::warn!(error = %error, server = self.name, "cannot wait for the keeper");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.remove();
    }
}

fn unused_directory() -> PathBuf {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    // Random as well, because a directory of a dead process with our number may still be on its way out.
    let salt: u16 = rand::random();
    std::env::temp_dir().join(format!("andon-rig-{}-{number}-{salt:04x}", std::process::id()))
}

fn name_of(user: Option<&User>) -> String {
    user.map_or_else(|| "you".to_owned(), |user| format!("the user `{}`", user.name))
}

fn distribution_directories() -> Vec<PathBuf> {
    let mut versions: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .collect();
    versions.sort_by(|left, right| right.cmp(left));
    let fixed = ["/usr/sbin", "/usr/local/sbin", "/sbin", "/opt/homebrew/sbin"].map(PathBuf::from);
    versions.into_iter().map(|(_, directory)| directory).chain(fixed).collect()
}

fn is_executable(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absent_program_names_its_package() {
        let error = program("no-such-program", "some-package").unwrap_err().to_string();

        assert_eq!(
            error,
            "`no-such-program` not found: install the package some-package (apt-get install some-package)"
        );
    }
}
