//! Who may emit for whom. In: roles with what `andon grants --for emit` prints, and what they try. Out: whether each emits for its own tenants and
//! for no others, whichever way it goes, and whether the names of Andon's own events are refused everywhere.

use andon::capture::Mapping;
use rig::Postgres;

use crate::command::run_andon;
use crate::support::plant::Plant;
use crate::support::plant::connect;
use crate::support::role::printed;

const OF_ACME: &str = "select andon.emit('shift.handover', '{\"crew\": \"B\"}', tenant => 'acme', entity_type => 'shift', entity_id => '7',
    context => '{\"cell\": \"Laser 1\"}')";
const OF_BOLT: &str = "select andon.emit('shift.handover', tenant => 'bolt')";

/// Runs SQL as a role, and returns the state and the message of its error.
async fn refusal(plant: &Plant, role: &str, sql: &str) -> Option<(String, String)> {
    let client = connect(&plant.url.replace("//postgres@", &format!("//{role}@"))).await;
    let error = client.batch_execute(sql).await.err()?;
    let error = error.as_db_error().unwrap();
    Some((error.code().code().to_owned(), error.message().to_owned()))
}

#[tokio::test]
async fn an_application_raises_events_of_its_own_tenants_and_of_no_other() {
    let plant = Plant::empty().await;
    plant.run(&printed(&["--role", "erp_app", "--for", "emit", "--tenant", "acme"])).await;

    let own = refusal(&plant, "erp_app", OF_ACME).await;
    let (code, message) = refusal(&plant, "erp_app", OF_BOLT).await.unwrap();
    let read = refusal(&plant, "erp_app", "select from andon.events").await;

    assert_eq!(own, None);
    let event = "select concat_ws(' ', tenant, type, entity_type, entity_id, data, context) from andon.events";
    let event: String = plant.client.query_one(event, &[]).await.unwrap().get(0);
    assert_eq!(event, r#"acme shift.handover shift 7 {"crew": "B"} {"cell": "Laser 1"}"#);
    assert_eq!(code, "42501");
    assert!(message.contains("role erp_app may not emit events of tenant 'bolt'"), "{message}");
    assert!(message.ends_with("andon grants --role 'erp_app' --for emit --tenant 'bolt'"), "{message}");
    assert!(read.is_some());
    for other in [
        "select andon.emit('shift.handover')",
        "select andon.emit('shift.handover', tenant => '*')",
        "insert into andon.emissions (type, tenant) values ('shift.handover', 'bolt')",
        "insert into andon.emissions (emitter, type, tenant) values ('postgres', 'shift.handover', 'bolt')",
        "insert into andon.emitters values ('erp_app', '*')",
        "select andon.write_event('shift.handover', '{}', 'bolt', '', '', '{}')",
    ] {
        assert_eq!(refusal(&plant, "erp_app", other).await.unwrap().0, "42501", "{other}");
    }
    assert_eq!(plant.count("select count(*) from andon.events").await, 1);

    plant.run(&printed(&["--role", "erp_app", "--for", "emit", "--tenant", "bolt", "--tenant", ""])).await;
    assert!(refusal(&plant, "erp_app", OF_ACME).await.is_some(), "what is not named any more is taken away");
    assert_eq!(refusal(&plant, "erp_app", OF_BOLT).await, None);
    assert_eq!(refusal(&plant, "erp_app", "select andon.emit('shift.handover')").await, None);
    plant.run(&printed(&["--role", "erp_app", "--for", "emit", "--tenant", "*"])).await;
    assert_eq!(refusal(&plant, "erp_app", OF_ACME).await, None);
}

#[tokio::test]
async fn whoever_calls_is_asked_and_not_whoever_has_logged_in() {
    let plant = Plant::empty().await;
    plant.run(&printed(&["--role", "mes_app", "--for", "emit", "--tenant", "acme"])).await;
    plant
        .run(
            "do $$ begin create role mes_member login in role mes_app; create role mes_guest login; end $$;
            create schema mes authorization mes_app; grant usage on schema mes, andon to mes_guest;
            set role mes_app;
            create function mes.tell() returns void language sql security definer as $$ select andon.emit('cell.down', tenant => 'acme') $$;
            create function mes.lie() returns void language sql security definer as $$ select andon.emit('cell.down', tenant => 'bolt') $$;
            reset role",
        )
        .await;

    for (role, sql, refused) in [
        ("mes_member", OF_ACME, None),
        ("mes_member", OF_BOLT, Some("42501")),
        ("mes_guest", OF_ACME, Some("42501")),
        ("mes_guest", "select mes.tell()", None),
        ("mes_guest", "select mes.lie()", Some("42501")),
        ("postgres", OF_BOLT, None),
        ("postgres", "set role mes_app; select andon.emit('cell.down', tenant => 'bolt')", Some("42501")),
    ] {
        let code = refusal(&plant, role, sql).await.map(|(code, _)| code);
        assert_eq!(code.as_deref(), refused, "{role}: {sql}");
    }
}

#[tokio::test]
async fn names_of_andon_are_refused_in_emit_in_mappings_and_in_captures() {
    let mut plant = Plant::empty().await;
    plant.run("create table jobs (id int primary key, kind text)").await;
    let mapping = |capture: &str| format!("[source]\nname = 'mes'\n{capture}");
    let capture =
        |event: &str| mapping(&format!("[[capture]]\ntable = 'jobs'\non = 'insert'\n{event}\nentity_type = 'job'"));
    let channel = mapping("[[channel]]\nchannel = 'machines'\ntype = 'ANDON.x'\nentity_type = 'machine'");

    for text in [capture("type = 'andon.destination.disabled'"), channel] {
        let problems = Mapping::parse("test.toml", &text).unwrap_err().to_string();
        assert!(problems.contains("names that begin with andon are Andon's own"), "{problems}");
    }
    for name in ["andon.destination.disabled", "Andon.x", "andon"] {
        let (code, message) = refusal(&plant, "postgres", &format!("select andon.emit('{name}')")).await.unwrap();
        assert!(code == "22023" && message.contains("names that begin with andon are Andon's own"), "{message}");
    }
    plant.attach(&capture("type_sql = \"new.kind || '.destination.disabled'\"")).await;
    let types = plant.types_after("insert into jobs values (1, 'andon'), (2, 'my'), (3, 'ANDON')").await;
    assert_eq!(types, ["my.destination.disabled"]);
    assert!(plant.errors().await.iter().all(|(_, _, code, said)| code == "22023" && said.contains("type_sql gives")));
    assert_eq!(plant.errors().await.len(), 2);
}

#[tokio::test]
async fn whoever_was_granted_emit_by_name_goes_on_after_the_update_and_everybody_does_not() {
    let url = Postgres::shared().create_database().await.unwrap();
    let owner = connect(&url).await;
    let mut files: Vec<_> = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations"))
        .unwrap()
        .map(|it| it.unwrap().path())
        .collect();
    files.sort();
    let is_new = |file: &&std::path::PathBuf| file.to_str().unwrap().contains("_emitters");
    for file in files.iter().take_while(|file| !is_new(file)) {
        owner.batch_execute(&std::fs::read_to_string(file).unwrap()).await.unwrap();
    }
    let roles = "do $$ begin create role old_app login; create role old_guest login; end $$;
        grant usage on schema andon to old_app, old_guest; grant execute on function andon.emit to old_app";
    owner.batch_execute(roles).await.unwrap();

    let update = files.iter().find(is_new).unwrap();
    owner.batch_execute(&std::fs::read_to_string(update).unwrap()).await.unwrap();

    let plant = Plant { client: owner, url };
    assert_eq!(refusal(&plant, "old_app", OF_BOLT).await, None);
    assert_eq!(refusal(&plant, "old_guest", OF_BOLT).await.unwrap().0, "42501");
}

#[test]
fn an_application_without_a_tenant_is_bad_usage() {
    for arguments in [vec!["--for", "emit"], vec!["--tenant", "acme"]] {
        let run = run_andon("", &[&["grants", "--role", "r"], arguments.as_slice()].concat());
        assert!(run.status == 2 && run.err.contains("--tenant"), "{run:?}");
    }
}

#[tokio::test]
async fn events_that_are_too_large_are_one_failure_for_each_cause_however_many_types_they_have() {
    let plant = Plant::empty().await;
    plant.run(&printed(&["--role", "erp_app", "--for", "emit", "--tenant", "acme"])).await;
    let app = connect(&plant.url.replace("//postgres@", "//erp_app@")).await;
    let (one, other) = (connect(&plant.url).await, connect(&plant.url).await);
    let odd = "select andon.emit('odd.n' || n, tenant => 'acme', entity_id => repeat('x', 600)) from generate_series(1, 300) n";
    let open = "from andon.capture_errors where operation = 'emit' and acknowledged_at is null";

    app.batch_execute(odd).await.unwrap();
    app.batch_execute("begin isolation level serializable").await.unwrap();
    app.batch_execute(odd).await.unwrap();
    app.batch_execute("commit").await.unwrap();
    plant.run("update andon.capture_errors set last_at = last_at - interval '1 second'").await;
    app.batch_execute(odd).await.unwrap();
    let rows = plant.count(&format!("select count(*) {open}")).await;
    let times = plant.count(&format!("select sum(times)::int8 {open} and table_name = 'odd.n1'")).await;
    // Who holds the row keeps nobody waiting.
    one.batch_execute(&format!("begin; {odd}")).await.unwrap();
    other.batch_execute(&format!("set statement_timeout = '20s'; {odd}")).await.unwrap();
    one.batch_execute("commit").await.unwrap();
    app.batch_execute("select andon.emit('odd.n', tenant => 'acme', data => to_jsonb(repeat('x', 1100000)))")
        .await
        .unwrap();

    assert_eq!(rows, 1);
    assert!(times > 1, "it was counted {times} times");
    assert_eq!(plant.count(&format!("select count(distinct message) {open}")).await, 2);
    assert!(plant.count(&format!("select count(*) {open}")).await <= 3);
}
