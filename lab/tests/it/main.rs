//! The lab as its user runs it. In: the program itself, and the `andon` next to it. Out: whether the demonstration, the faults and the
//! measurements run to their end and report what they should. Speed is the business of `make bench`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on must panic, in its helping functions too")]

mod bench;
mod chaos;
mod demo;

use std::path::Path;
use std::process::Command;
use std::process::Stdio;

/// Returns the lab as a command, after a check that there is an `andon` for it to start.
fn lab() -> Command {
    let lab = Path::new(env!("CARGO_BIN_EXE_andon-lab"));
    let andon = lab.with_file_name("andon");
    assert!(andon.is_file(), "there is no {}: run `cargo build --bin andon` first, or `make test`", andon.display());
    let mut command = Command::new(lab);
    command.env_remove("ANDON_PROGRAM").stdin(Stdio::null());
    command
}
