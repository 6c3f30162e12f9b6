//! Tells people what happens while the demo runs. In: what happens. Out: lines on standard output, as far as the options ask for them.

use std::io::Write;

use jiff::Zoned;

/// The rate, in events per second, above which nobody can read along.
const READABLE_RATE: f64 = 50.0;

/// Prints what happens.
#[derive(Debug, Clone, Copy)]
pub(super) struct Narrator {
    says_steps: bool,
    says_events: bool,
}

impl Narrator {
    pub(super) fn new(json: bool, rate: f64) -> Narrator {
        Narrator { says_steps: !json, says_events: !json && rate <= READABLE_RATE }
    }

    /// Prints a step of the demo.
    pub(super) fn say(self, step: &str) {
        if self.says_steps {
            line(&format!("{}  {step}", now()));
        }
    }

    /// Prints one event at one of its stations.
    pub(super) fn event(self, station: &str, what: &str) {
        if self.says_events {
            line(&format!("{}  {station:<9}  {what}", now()));
        }
    }
}

/// Prints a line on standard output. A reader that has closed it wants no more, which is no fault.
pub(super) fn line(text: &str) {
    drop(writeln!(std::io::stdout().lock(), "{text}"));
}

fn now() -> String {
    Zoned::now().strftime("%H:%M:%S%.3f").to_string()
}
