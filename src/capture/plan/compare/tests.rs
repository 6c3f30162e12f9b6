//! The comparison as a pure function. In: captures that are wanted, and what stands in the catalogue. Out: whether the steps come in the order
//! that keeps what is new, and whether each deviation is named.

use super::*;

fn capture(table: &str) -> GeneratedCapture {
    let function = format!("andon.capture_mes_{table}");
    let trigger = GeneratedTrigger {
        name: "andon_mes_insert".to_owned(),
        table: format!("public.{table}"),
        create: format!(
            "create or replace trigger andon_mes_insert after insert on public.{table}\n    for each row execute function {function}();\n"
        ),
    };
    GeneratedCapture {
        table: format!("public.{table}"),
        body: " begin end ".to_owned(),
        comment: format!("andon source mes: captures public.{table} [0]"),
        is_row_level: true,
        before: None,
        create_function: format!("create function {function}() security definer set jit = off as $a$ begin end $a$;\n"),
        triggers: vec![trigger],
        function,
    }
}

/// Returns what stands in the catalogue once this capture is installed.
fn installed(captures: &[GeneratedCapture]) -> Installed {
    let mut all = Installed::default();
    for capture in captures {
        all.functions.push(InstalledFunction {
            function: capture.function.clone(),
            body: capture.body.clone(),
            comment: capture.comment.clone(),
            settings: definition::settings(&capture.create_function),
            is_definer: true,
            owner: "owner".to_owned(),
            is_public: false,
        });
        all.triggers.extend(capture.triggers.iter().map(|trigger| InstalledTrigger {
            name: trigger.name.clone(),
            table: trigger.table.clone(),
            function: capture.function.clone(),
            definition: definition::trigger(&trigger.create),
            firing: Firing::Normal,
            silent_partitions: Vec::new(),
        }));
    }
    all
}

fn planned(wanted: &[GeneratedCapture], installed: &Installed) -> InstallPlan {
    let mut steps = InstallPlan::default();
    plan(&mut steps, "mes", wanted, installed, Some("owner"));
    steps
}

#[test]
fn what_is_as_wanted_needs_no_step() {
    let wanted = [capture("jobs"), capture("parts")];

    let plan = planned(&wanted, &installed(&wanted));

    assert!(plan.differences.is_empty() && plan.functions.is_empty() && plan.steps.is_empty(), "{plan:?}");
}

#[test]
fn a_table_that_was_renamed_keeps_the_trigger_that_is_new_on_it() {
    let mut before = installed(&[capture("jobs")]);
    "public.orders".clone_into(&mut before.triggers[0].table);

    let plan = planned(&[capture("orders")], &before);

    let steps: Vec<&str> = plan.steps.iter().map(|(_, sql)| sql.as_str()).collect();
    assert!(
        steps[0].starts_with("create or replace trigger andon_mes_insert after insert on public.orders"),
        "{steps:?}"
    );
    assert_eq!(steps[1..], ["drop function andon.capture_mes_jobs();\n"]);
}

#[test]
fn what_is_too_much_goes_before_anything_is_made() {
    let mut before = installed(&[capture("jobs")]);
    "public.jobs_old".clone_into(&mut before.triggers[0].table);

    let plan = planned(&[capture("jobs")], &before);

    let steps: Vec<&str> = plan.steps.iter().map(|(doing, _)| doing.as_str()).collect();
    assert_eq!(steps, ["remove trigger andon_mes_insert", "let it run on public.jobs"]);
}

#[test]
fn each_way_in_which_a_function_can_deviate_is_named() {
    let wanted = [capture("jobs")];
    let deviating = |change: fn(&mut InstalledFunction)| {
        let mut known = installed(&wanted);
        change(&mut known.functions[0]);
        planned(&wanted, &known).differences.join("\n")
    };

    assert!(deviating(|it| it.body = "begin".to_owned()).contains("has another body"));
    assert!(deviating(|it| it.is_definer = false).contains("security definer"));
    assert!(deviating(|it| it.settings.clear()).contains("`set` clauses"));
    assert!(deviating(|it| it.is_public = true).contains("called by everybody"));
    assert!(deviating(|it| it.comment.push('x')).contains("another comment"));
    assert!(deviating(|it| it.owner = "eve".to_owned()).contains("belongs to eve, and not to owner"));
}

#[test]
fn a_trigger_of_the_plant_that_came_later_is_named_once() {
    let mut before = installed(&[capture("jobs")]);
    before.triggers[0].definition = before.triggers[0].definition.replace("for each row", "for each statement");
    before.functions[0].body = "begin".to_owned();
    let mut wanted = capture("jobs");
    wanted.before = Some("audit".to_owned());

    let plan = planned(&[wanted], &before);

    let said = plan.differences.join("\n");
    assert!(
        said.starts_with("public.jobs has to be captured row by row since it has the plant's trigger `audit`"),
        "{said}"
    );
    assert!(!said.contains("another body") && plan.functions.len() == 1, "{said}");
}

#[test]
fn a_trigger_of_the_plant_for_the_statement_asks_for_another_name_and_no_other_level() {
    let before = installed(&[capture("jobs")]);
    let mut wanted = capture("jobs");
    wanted.before = Some("audit".to_owned());
    wanted.triggers[0].name.insert(0, '!');

    let said = planned(&[wanted], &before).differences.join("\n");

    assert!(
        said.starts_with("public.jobs has the plant's trigger `audit`, so that Andon's need names that sort first"),
        "{said}"
    );
    assert!(said.contains("trigger andon_mes_insert on public.jobs is not wanted there"), "{said}");
}
