//! What commands print for people and for machines. In: texts that may hold what strangers wrote. Out: lines on a terminal that does not obey
//! them. Where nobody reads any more, as behind `andon check | head`, the program ends as other tools do, without a word.

use std::fmt::Display;
use std::io::ErrorKind;
use std::io::Write as _;
use std::io::stderr;
use std::io::stdout;
use std::process::exit;

use crate::legible;

/// The exit status where nobody reads the output: shells show it of a program that is ended by the signal for that, number 13.
const NOBODY_READS: i32 = 128 + 13;
/// The exit status where the output cannot be written.
const UNWRITABLE: i32 = 1;

/// Prints lines for people.
pub(super) fn show(text: impl Display) {
    write(&legible::text(text.to_string()));
}

/// Prints one line for people.
pub(super) fn say(line: impl Display) {
    show(format_args!("{line}\n"));
}

/// Prints a text that Andon made itself, such as SQL, as it is.
pub(super) fn verbatim(text: impl Display) {
    write(&text.to_string());
}

/// Prints a document in JSON.
pub(super) fn document(json: impl Display) {
    write(&format!("{}\n", legible::json(&json.to_string())));
}

/// Says on standard error what went wrong. Where nobody reads that, the exit status says it.
pub(super) fn complain(text: impl Display) {
    writeln!(stderr(), "andon: {}", legible::text(text.to_string())).ok();
}

/// Writes at once, because a line without an end would wait otherwise.
fn write(text: &str) {
    let mut out = stdout().lock();
    let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush()) else { return };
    if error.kind() == ErrorKind::BrokenPipe {
        exit(NOBODY_READS);
    }
    complain(format_args!("cannot write to standard output: {error}"));
    exit(UNWRITABLE);
}
