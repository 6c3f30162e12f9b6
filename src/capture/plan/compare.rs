//! Compares what is installed with what is wanted. In: both, as values. Out: each difference in words, and the steps of a plan that end it. It
//! decides only; the order of its steps is what makes a table's triggers survive that the table was renamed or has become a partition.

use crate::capture::plan::capture_role::CAPTURE_ROLE;
use crate::capture::plan::definition;
use crate::capture::plan::install_plan::Change;
use crate::capture::plan::install_plan::InstallPlan;
use crate::capture::plan::installed::Firing;
use crate::capture::plan::installed::Installed;
use crate::capture::plan::installed::InstalledFunction;
use crate::capture::plan::installed::InstalledTrigger;
use crate::capture::sql::quote::identifier;
use crate::capture::sql::trigger;
use crate::capture::sql::trigger::GeneratedCapture;
use crate::capture::sql::trigger::GeneratedTrigger;

/// Plans the way from what is installed to what is wanted. `owner` is the role that the functions have to belong to, if that is known.
///
/// Functions come first. Then goes what is too much, before anything is created: a trigger whose table was renamed may stand in the way of
/// the new one under the same name, or become part of it when its table has become a partition. Functions that are no longer wanted go last,
/// when nothing runs them any more.
pub(super) fn plan(
    plan: &mut InstallPlan,
    source: &str,
    wanted: &[GeneratedCapture],
    installed: &Installed,
    owner: Option<&str>,
) {
    let before: Vec<usize> = wanted
        .iter()
        .map(|capture| {
            let before = plan.differences.len();
            let known = installed.functions.iter().find(|known| known.function == capture.function);
            let other_level = other_level(capture, installed);
            if let Some(reason) = &other_level {
                plan.differ(reason.clone());
            }
            function(plan, capture, known, other_level.is_some(), owner);
            plan.differences.len() - before
        })
        .collect();
    let is_ours = |known: &&InstalledTrigger| installed.functions.iter().any(|it| it.function == known.function);
    let is_wanted = |known: &&InstalledTrigger| {
        let all = wanted.iter().flat_map(|capture| &capture.triggers);
        all.into_iter().any(|trigger| is_place_of(trigger, known))
    };
    let mut freed: Vec<&str> = Vec::new();
    for known in installed.triggers.iter().filter(is_ours).filter(|known| !is_wanted(known)) {
        freed.push(&known.function);
        let InstalledTrigger { name, table, .. } = known;
        plan.differ(format!("trigger {} on {table} is not wanted there", identifier(name)));
        plan.drop_trigger(name, table);
    }
    for (capture, of_function) in wanted.iter().zip(before) {
        let before = plan.differences.len();
        for trigger in &capture.triggers {
            let known = installed.triggers.iter().find(|known| is_place_of(trigger, known));
            create(plan, capture, trigger, known);
        }
        let is_same = of_function == 0 && plan.differences.len() == before && !freed.contains(&&*capture.function);
        let is_known = installed.functions.iter().any(|known| known.function == capture.function);
        let change = match (is_known, is_same) {
            (false, _) => Change::Created,
            (true, true) => Change::Unchanged,
            (true, false) => Change::Replaced,
        };
        plan.changes.push((capture.table.clone(), change));
    }
    for known in &installed.functions {
        if wanted.iter().all(|capture| capture.function != known.function) {
            forget(plan, source, known);
        }
    }
}

/// Returns whether an installed trigger stands where this one is wanted: on the same table, with the same name.
fn is_place_of(trigger: &GeneratedTrigger, known: &InstalledTrigger) -> bool {
    trigger.name == known.name && trigger.table == known.table
}

/// Returns why a table has to be captured at another level than it is, or by triggers with other names, if that is so.
fn other_level(wanted: &GeneratedCapture, installed: &Installed) -> Option<String> {
    let of_function = installed.triggers.iter().filter(|known| known.function == wanted.function);
    let known: Vec<_> = of_function.filter(|known| !known.definition.contains(" after truncate ")).collect();
    let is_same = |known: &&InstalledTrigger| known.definition.contains(" for each row ") == wanted.is_row_level;
    let (table, is_first) = (&wanted.table, |name: &str| name.starts_with('!'));
    if known.is_empty() {
        return None;
    }
    if known.iter().any(is_same) {
        let plant = wanted.before.as_ref()?;
        let has_to = wanted.triggers.iter().all(|trigger| is_first(&trigger.name));
        return (has_to && !known.iter().any(|known| is_first(&known.name))).then(|| {
            format!("{table} has the plant's trigger `{plant}`, so that Andon's need names that sort first, or what it does may come before its cause")
        });
    }
    Some(match (wanted.is_row_level, &wanted.before) {
        (true, Some(plant)) => format!(
            "{table} has to be captured row by row since it has the plant's trigger `{plant}`, so that what that does follows its cause"
        ),
        (true, None) => format!("{table} has to be captured row by row, and is captured statement by statement"),
        (false, _) => format!("{table} can be captured statement by statement again, and is captured row by row"),
    })
}

fn function(
    plan: &mut InstallPlan,
    wanted: &GeneratedCapture,
    known: Option<&InstalledFunction>,
    is_of_other_level: bool,
    owner: Option<&str>,
) {
    let GeneratedCapture { table, function, create_function, .. } = wanted;
    let reasons = match known {
        None => vec!["is missing".to_owned()],
        Some(known) if is_of_other_level => {
            // That the body is another one, and the comment that tells it, is said already.
            let (body, comment) = (wanted.body.clone(), wanted.comment.clone());
            deviations(wanted, &InstalledFunction { body, comment, ..known.clone() })
        }
        Some(known) => deviations(wanted, known),
    };
    if !reasons.is_empty() {
        plan.differ(format!("{table}: function {function} {}", reasons.join(", ")));
    }
    if !reasons.is_empty() || is_of_other_level {
        plan.function(format!("capture {table}"), create_function.clone());
    }
    let Some(owner) = owner else { return };
    let take_over = format!("alter function {function}() owner to {};\n", identifier(owner));
    match known {
        Some(known) if known.owner != owner => {
            plan.differ(format!("{table}: function {function} belongs to {}, and not to {owner}", known.owner));
            plan.function(format!("take over {function}"), take_over);
        }
        // Any other role makes functions of its own.
        None if owner == CAPTURE_ROLE => plan.function(format!("hand over {function}"), take_over),
        _ => {}
    }
}

/// Returns how an installed function deviates from the one that is wanted.
fn deviations(wanted: &GeneratedCapture, known: &InstalledFunction) -> Vec<String> {
    let mut reasons = Vec::new();
    let mut check = |is_same: bool, reason: &str| {
        if !is_same {
            reasons.push(reason.to_owned());
        }
    };
    let is_definer = definition::is_definer(&wanted.create_function);
    check(
        known.body == wanted.body,
        "has another body than this Andon makes of the mapping and the tables as they are now",
    );
    check(known.is_definer == is_definer, "runs with other rights: security definer was changed");
    check(known.settings == definition::settings(&wanted.create_function), "has other `set` clauses");
    check(!known.is_public, "may be called by everybody");
    if reasons.is_empty() && known.comment != wanted.comment {
        reasons.push("has another comment".to_owned());
    }
    reasons
}

fn create(
    plan: &mut InstallPlan,
    capture: &GeneratedCapture,
    wanted: &GeneratedTrigger,
    known: Option<&InstalledTrigger>,
) {
    let GeneratedTrigger { name, table, create } = wanted;
    let quoted = identifier(name);
    let reason = match known {
        None => Some("is missing".to_owned()),
        Some(known) if known.function != capture.function => Some(format!("runs {}", known.function)),
        Some(known) if known.definition != definition::trigger(create) => {
            Some("does not fire when or how it should".to_owned())
        }
        Some(known) => match known.firing {
            Firing::Normal => None,
            Firing::Disabled => Some("is disabled".to_owned()),
            Firing::ReplicaOnly => Some("fires only in replica sessions (enable replica trigger)".to_owned()),
        },
    };
    if let Some(reason) = reason {
        plan.differ(format!("trigger {quoted} on {table} {reason}"));
        if known.is_some_and(|known| known.definition.starts_with("create constraint trigger")) {
            // Nothing can replace such a trigger in its place.
            plan.drop_trigger(name, table);
        }
        plan.lock(table, false);
        plan.step(format!("let it run on {table}"), create.clone());
    }
    for partition in known.iter().flat_map(|known| &known.silent_partitions) {
        plan.differ(format!("trigger {quoted} on {partition}, a part of {table}, is disabled"));
        plan.lock(partition, false);
        let sql = format!("alter table {partition} enable trigger {quoted};\n");
        plan.step(format!("let it run on {partition}"), sql);
    }
}

fn forget(plan: &mut InstallPlan, source: &str, known: &InstalledFunction) {
    let table = known.comment.trim_start_matches(&trigger::comment_prefix(source));
    let table = table.rsplit_once(" [").map_or(table, |(table, _)| table);
    plan.differ(format!("{table}: function {} is not wanted any more", known.function));
    plan.step(format!("no longer capture {table}"), format!("drop function {}();\n", known.function));
    plan.changes.push((table.to_owned(), Change::Dropped));
}

#[cfg(test)]
mod tests;
