//! Compares two builds of Andon. In: a bench, the program under test, and the program of another build. Out: Andon's own figures of both,
//! taken in turns, because the machine is faster in one minute than in the next. The baselines of the bench are measured and not shown; a
//! bench that compares amounts, such as 1 and 1,000 destinations, has no baseline, and all its figures are shown.

use anyhow::Result;
use serde_json::json;

use crate::andon::Andon;
use crate::bench::comparison::Comparison;
use crate::bench::comparison::Report;

/// What the lab calls the program under test in every bench.
const UNDER_TEST: &str = "andon";
const VARIANTS: [&str; 2] = ["before", UNDER_TEST];

/// Runs the bench `turns` times with each program. Every second pair runs in the other order, so that neither is always the first.
pub(super) async fn take_turns(
    turns: usize,
    before: &Andon,
    andon: &Andon,
    bench: impl AsyncFn(&Andon) -> Result<Report>,
) -> Result<Report> {
    let mut comparison = Comparison::new(&VARIANTS);
    let mut name = "";
    for turn in 0..turns {
        let mut pair = [(VARIANTS[0], before), (VARIANTS[1], andon)];
        if turn % 2 == 1 {
            pair.reverse();
        }
        for (variant, program) in pair {
            let report = bench(program).await?;
            name = report.bench;
            for (what, median) in report.comparison.medians(UNDER_TEST) {
                comparison.note(&what, variant, median);
            }
        }
    }
    Ok(Report { bench: name, comparison, facts: json!({"turns": turns}) })
}
