//! The lab as its user runs it. In: the program itself, and the `andon` beside it. Out: whether the demonstration, the faults and the
//! measurements run to their end and say what they should. How fast anything is, is for `make bench`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall panic, in its helping functions too")]

mod bench;
mod chaos;
mod demo;

use std::path::Path;
use std::process::Command;
use std::process::Stdio;

/// The program, once it is known that there is something for it to start.
fn lab() -> Command {
    let lab = Path::new(env!("CARGO_BIN_EXE_andon-lab"));
    let andon = lab.with_file_name("andon");
    assert!(andon.is_file(), "there is no {}: run `cargo build --bin andon` first, or `make test`", andon.display());
    let mut command = Command::new(lab);
    command.env_remove("ANDON_PROGRAM").stdin(Stdio::null());
    command
}
