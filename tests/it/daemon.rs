//! `andon run` as a process of its own, for the tests that kill, pause or deceive it. In: a database. Out: signals to the process. It is
//! killed when it is dropped.

use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;

use nix::sys::signal::Signal;
use nix::sys::signal::kill;
use nix::unistd::Pid;

pub(crate) struct Daemon(Child);

impl Daemon {
    pub(crate) fn start(url: &str) -> Daemon {
        Daemon(command(url).spawn().unwrap())
    }

    /// With a shared library loaded before all others.
    pub(crate) fn start_under(url: &str, library: &Path) -> Daemon {
        Daemon(command(url).env("LD_PRELOAD", library).spawn().unwrap())
    }

    pub(crate) fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// Lets it sleep, with its sockets open.
    pub(crate) fn pause(&self) {
        self.signal(Signal::SIGSTOP);
    }

    pub(crate) fn resume(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// Ends it in order, and returns whether it was content.
    pub(crate) async fn stop(mut self) -> bool {
        self.signal(Signal::SIGTERM);
        tokio::task::spawn_blocking(move || self.0.wait().unwrap().success()).await.unwrap()
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.0.id()).unwrap()), signal).unwrap();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn command(url: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_andon"));
    command.arg("run").env("DATABASE_URL", url).current_dir(std::env::temp_dir()).stdin(Stdio::null());
    command
}
