//! Tells people what happens while a chaos run goes on. In: what happens. Out: lines on standard output, as far as the options ask for
//! them, and lines on standard error for what nobody ordered.

use std::io::Write;
use std::time::Instant;

/// Prints what happens, as far as the options ask for it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Narrator {
    json: bool,
}

impl Narrator {
    pub(super) fn new(json: bool) -> Narrator {
        Narrator { json }
    }

    /// Prints the seed, from which the same run can be made again.
    pub(super) fn seed(self, seed: u64) {
        if self.json {
            eprintln!("chaos: seed {seed}");
        } else {
            print_line(&format!("seed {seed}"));
        }
    }

    /// Prints what happens, with the second of the run.
    pub(super) fn say(self, start: Instant, what: &str) {
        if !self.json {
            print_line(&timed(start, what));
        }
    }

    /// Prints what nobody ordered, whatever the options say.
    pub(super) fn note(self, start: Instant, what: &str) {
        eprintln!("chaos: {}", timed(start, what).trim_start());
    }
}

fn timed(start: Instant, what: &str) -> String {
    format!("{:7.1} s  {what}", start.elapsed().as_secs_f64())
}

/// Prints a line on standard output.
pub(super) fn print_line(text: &str) {
    // A closed pipe is no reason to end before the exit status is known.
    drop(writeln!(std::io::stdout(), "{text}"));
}
