//! `andon run` as a separate process, for the tests that kill, pause or deceive it. In: the URL of a database. Out: a running daemon.

use std::ffi::OsString;
use std::path::Path;

use rig::Daemon;
use rig::DaemonOptions;

use crate::support::role::as_daemon;

/// Starts a daemon with the default settings.
pub(crate) async fn start(url: &str) -> Daemon {
    start_with(url, vec![]).await
}

/// Starts a daemon with these environment variables, in addition to those of this process.
pub(crate) async fn start_with(url: &str, environment: Vec<(OsString, OsString)>) -> Daemon {
    let options = DaemonOptions { environment, ..DaemonOptions::default() };
    let daemon = Daemon::prepare(Path::new(env!("CARGO_BIN_EXE_andon")), &as_daemon(url), options).unwrap();
    daemon.start().await.unwrap();
    daemon
}
