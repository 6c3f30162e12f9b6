//! The judgement of a step. In: what each witness saw of it. Out: one cell of the table, and the reason if it is a failure. What a broker
//! forgets when it is killed is told and no failure of Andon: it had acknowledged it.

use rig::oracle::Verdict;

/// What was seen of a step.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    /// At the endpoint, with 2xx.
    pub(super) webhook: Verdict,
    /// What the broker acknowledged.
    pub(super) acknowledged: Verdict,
    /// What the broker passed on, of what it had no excuse to forget.
    pub(super) passed_on: Verdict,
    /// What the broker passed on of the events that were under way when it was killed.
    pub(super) around_the_kill: Option<Verdict>,
}

/// One cell of the table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) text: String,
    /// Why it is a failure.
    pub(super) fault: Option<String>,
}

impl Cell {
    pub(super) fn good(text: &str) -> Cell {
        Cell { text: text.to_owned(), fault: None }
    }

    pub(super) fn failed(fault: String) -> Cell {
        Cell { text: "failed".to_owned(), fault: Some(fault) }
    }

    /// Judges a step.
    pub(super) fn of(seen: &Seen) -> Cell {
        let witnesses = [
            ("the webhook", &seen.webhook),
            ("the broker's acknowledgements", &seen.acknowledged),
            ("the subscriber", &seen.passed_on),
        ];
        let faults: Vec<String> = witnesses
            .iter()
            .filter(|(_, verdict)| !verdict.is_clean() || verdict.expected == 0)
            .map(|(name, verdict)| fault(name, verdict))
            .collect();
        if !faults.is_empty() {
            return Cell::failed(faults.join("; "));
        }
        match &seen.around_the_kill {
            Some(Verdict { missing: 0, .. }) => Cell::good("ok, kept all"),
            Some(Verdict { missing, expected, .. }) => Cell::good(&format!("ok, forgot {missing} of {expected}")),
            None => Cell::good("ok"),
        }
    }
}

fn fault(name: &str, verdict: &Verdict) -> String {
    let Verdict { expected, missing, out_of_order, phantom, .. } = verdict;
    format!("{name}: of {expected} events {missing} missing, {out_of_order} out of order, {phantom} from nowhere")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(expected: u64) -> Verdict {
        Verdict { expected, delivered: expected, ..Verdict::default() }
    }

    fn seen() -> Seen {
        Seen { webhook: all(200), acknowledged: all(200), passed_on: all(200), around_the_kill: None }
    }

    #[test]
    fn a_step_in_which_everything_arrived_in_order_is_good() {
        assert_eq!(Cell::of(&seen()), Cell::good("ok"));
    }

    #[test]
    fn whatever_a_witness_misses_is_a_failure_that_says_where() {
        let bad = Verdict { missing: 1, delivered: 199, ..all(200) };
        let reordered = Verdict { out_of_order: 2, ..all(200) };

        let at_webhook = Cell::of(&Seen { webhook: bad.clone(), ..seen() }).fault.unwrap();
        let at_both = Cell::of(&Seen { acknowledged: reordered, passed_on: bad, ..seen() }).fault.unwrap();

        assert_eq!(at_webhook, "the webhook: of 200 events 1 missing, 0 out of order, 0 from nowhere");
        assert!(at_both.contains("acknowledgements: of 200 events 0 missing, 2 out") && at_both.contains("; the subs"));
    }

    #[test]
    fn a_step_without_events_proves_nothing() {
        assert_eq!(Cell::of(&Seen { webhook: all(0), ..seen() }).text, "failed");
    }

    #[test]
    fn what_a_killed_broker_forgets_is_told_and_no_failure() {
        let lost = Verdict { missing: 12, delivered: 388, ..all(400) };

        let forgetful = Cell::of(&Seen { around_the_kill: Some(lost), ..seen() });
        let faithful = Cell::of(&Seen { around_the_kill: Some(all(400)), ..seen() });

        assert_eq!(forgetful, Cell::good("ok, forgot 12 of 400"));
        assert_eq!(faithful, Cell::good("ok, kept all"));
    }
}
