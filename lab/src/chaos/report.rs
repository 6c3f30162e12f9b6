//! The report at the end of a chaos run. In: the judgement. Out: lines, or one line of JSON; for a run that is not clean also what is
//! wrong, and where the daemons' logs are. It judges nothing itself.

use anyhow::Context;
use anyhow::Result;

use crate::chaos::allowance::Happened;
use crate::chaos::judge::Judgement;
use crate::chaos::line;
use crate::chaos::line::Line;
use crate::chaos::narrator::print_line;
use crate::chaos::schedule::Scenario;
use crate::stage::connect;

/// How many sources of duplicates are reported.
const TOLD: usize = 5;

/// Prints the judgement and returns whether all was well.
pub(super) fn print(judgement: &Judgement, json: bool) -> Result<bool> {
    if !json {
        for destination in &judgement.destinations {
            let verdict = &destination.verdict;
            print_line(&format!(
                "{:<14} {:>6} delivered, {} missing, {} out of order, {} phantom, {} twice ({} allowed)",
                destination.label,
                verdict.delivered,
                verdict.missing,
                verdict.out_of_order,
                verdict.phantom,
                verdict.duplicates,
                destination.duplicates_allowed
            ));
        }
        for source in judgement.sources.iter().take(TOLD) {
            print_line(&format!("{:>6} twice ({} allowed) by {}", source.duplicates, source.allowed, source.fault));
        }
    }
    print_line(&serde_json::to_string(judgement).context("cannot write the judgement")?);
    Ok(judgement.is_clean())
}

/// Prints what is wrong on standard error, and keeps the daemons' logs.
pub(super) async fn explain(judgement: &Judgement, scenario: Scenario, happened: &[Happened], line: &Line) {
    let Scenario { seed, duration, daemons, kills_brokers } = scenario;
    let variant = if kills_brokers { " --kill-brokers" } else { "" };
    eprintln!(
        "chaos: not clean; the same faults again: andon-lab chaos --seed {seed} --for {duration:?} --replicas {daemons}{variant}"
    );
    for Happened { fault, from, until, .. } in happened {
        eprintln!("chaos: {from:.1} s to {until:.1} s: {fault}");
    }
    for complaint in &judgement.complaints {
        eprintln!("chaos: {complaint}");
    }
    for source in judgement.sources.iter().take(TOLD) {
        eprintln!("chaos: {} twice ({} allowed) by {}", source.duplicates, source.allowed, source.fault);
    }
    match rows(line).await {
        Ok(rows) => rows.iter().for_each(|row| eprintln!("chaos: {row}")),
        Err(error) => eprintln!("chaos: cannot read the lanes: {error:#}"),
    }
    let directory = std::env::temp_dir().join(format!("andon-chaos-{seed}-{}", std::process::id()));
    for (number, daemon) in line.daemons.iter().enumerate() {
        let name = line::name(number);
        eprintln!("chaos: the log of {name} ends with:\n{}", daemon.log_tail());
        let kept = std::fs::create_dir_all(&directory)
            .and_then(|()| std::fs::write(directory.join(format!("{name}.log")), daemon.log()));
        if let Err(error) = kept {
            eprintln!("chaos: cannot keep the log in {}: {error}", directory.display());
        }
    }
    eprintln!("chaos: the whole logs are in {}", directory.display());
}

/// Describes the lanes and the parked deliveries at the end.
async fn rows(line: &Line) -> Result<Vec<String>> {
    let client = connect(&line.database).await?;
    let statement = "select format('lane %s (%s) is %s since %s%s; position %s, pending %s, written %s', lane, name, state, state_since::time(1),
            ': ' || reason, position, left(andon.pending_ids(lanes)::text, 200), updated_at::time(1)) from andon.lanes
        union all select format('%s parked deliveries of %s are %s, e.g. event %s: %s', count(*), lane, state, min(event), min(reason))
            from andon.deliveries group by lane, state
        union all select format('the log ends at %s, the tail is at %s, holes %s', (select max(id) from andon.events), position, holes)
            from andon.tail";
    Ok(client.query(statement, &[]).await?.iter().map(|row| row.get(0)).collect())
}
