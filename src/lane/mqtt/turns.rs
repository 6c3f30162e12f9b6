//! Decides whether a lane publishes an event from the log or a delivery from the ledger next. In: which of them wait. Out: whose turn it is. The
//! ledger gets a share while both wait, so that live events keep most of the window.

/// The turns of the log and the ledger.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// How many turns the log has had since the ledger had one.
    of_log: u32,
}

/// While both wait, the log gets so many turns for each of the ledger's.
const LOG_TURNS: u32 = 7;

impl Turns {
    /// Returns whether a delivery from the ledger is next.
    pub(super) fn is_ledgers(&mut self, log_waits: bool, ledger_waits: bool) -> bool {
        let is_ledgers = ledger_waits && (!log_waits || self.of_log >= LOG_TURNS);
        self.of_log = if is_ledgers { 0 } else { self.of_log.saturating_add(1) };
        is_ledgers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_get_an_eighth_of_the_turns_and_all_that_the_log_does_not_want() {
        let mut turns = Turns::default();
        let mut count = |log_waits, ledger_waits| (0..80).filter(|_| turns.is_ledgers(log_waits, ledger_waits)).count();

        assert_eq!(count(true, true), 10);
        assert_eq!(count(false, true), 80);
        assert_eq!(count(true, false), 0);
    }
}
