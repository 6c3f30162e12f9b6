//! Least privilege. In: roles with what `andon grants` prints for them, and with more. Out: what they cannot do whatever they try, and whether
//! `andon check` says what is missing and what is too much.

mod forged;

use rig::Postgres;
use rig::Receiver;
use serde_json::json;
use tokio_postgres::Client;

use crate::command::run_andon;
use crate::support::line::ALL_DONE;
use crate::support::line::Line;
use crate::support::line::PATIENCE;
use crate::support::plant::Plant;
use crate::support::plant::connect;
use crate::support::role;
use crate::support::role::as_daemon;

/// What README.md told the owner to run before there was `andon grants`.
const OLD_GRANTS: &str = "
    grant usage on schema andon to andon_run;
    grant select, insert, update, delete on all tables in schema andon to andon_run;
    grant usage on all sequences in schema andon to andon_run;
    grant execute on all functions in schema andon to andon_run;
    alter default privileges in schema andon grant select on tables to andon_run;";

/// Nothing but what migrations know a role by that runs daemons. Whoever has more gets no less.
const MARK: &str = "grant insert on andon.lanes to andon_run";

/// How many migrations there were when README.md gave those grants.
const OLD_MIGRATIONS: usize = 19;

/// What a stolen `andon run` must not do.
const FORBIDDEN: &[&str] = &[
    "insert into andon.events (tenant, type, entity_type, entity_id) values ('acme', 'job.done', 'job', '1')",
    "update andon.events set tenant = 'bolt'",
    "delete from andon.events",
    "insert into andon.deliveries (lane, event, event_id, tenant, type, entity_type, entity_id, occurred_at, context, data, state, reason)
        values ('andon.webhooks/1', 1, gen_random_uuid(), 'acme', 'job.done', 'job', '1', now(), '{}', '{}', 'waiting', '')",
    "update andon.deliveries set data = '{}'",
    "update andon.deliveries set tenant = 'acme', event_id = gen_random_uuid()",
    "select andon.write_event('andon.destination.disabled', '{}', 'acme', '', '', '{}')",
    "select andon.emit('job.done', '{}', 'acme')",
    "insert into andon.webhooks (url, secret_key) values ('https://evil.example', 's')",
    "update andon.webhooks set url = 'https://evil.example'",
    "delete from andon.webhooks",
    "insert into andon.mqtt_publishers (name, broker_url) values ('evil', 'evil.example')",
    "update andon.mqtt_publishers set broker_url = 'evil.example'",
    "insert into andon.sources (name, profile, mapping) values ('evil', 'andon', '')",
    "update andon.sources set webhooks = 'public.evil'",
    "update andon.sources set mapping = '[[channel]]', channels = '{evil}'",
    "delete from andon.sources",
    "insert into andon.migrations (version, name, checksum) values (99, '0099', '')",
    "delete from andon.migrations",
    "insert into andon.capture_errors (source, table_name, operation, sqlstate, message, new_image) values ('s', 't', 'insert', '', '', '{}')",
    "select andon.capture_failed('s', 't', 'insert', 0, '{}', '', '', '{}'::jsonb, null)",
    "select andon.capture_failed('s', 't', 'insert', '', '', '')",
    "select andon.emit_failed('job.done', '1', 'too large')",
    "select andon.lookup_failed('s', 't', 0, '', '')",
    "select andon.set_max_event(268435456)",
    "select andon.share_partition('andon.events_default')",
    "create table andon.evil (id int)",
    "create function andon.evil() returns int language sql return 1",
    "alter function andon.ring() security invoker",
    "drop table andon.events",
    "truncate andon.events",
    "grant postgres to andon_run",
    "set role postgres",
    "alter role andon_run superuser",
    "copy andon.lanes to program 'true'",
];

async fn refused(url: &str, statements: &[&str]) {
    let role = connect(url).await;
    for sql in statements {
        let outcome = role.batch_execute(sql).await;
        let code = outcome.as_ref().err().and_then(|error| error.code()).map(|code| code.code());
        assert_eq!(code, Some("42501"), "{sql}: {outcome:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stolen_role_of_the_daemon_forges_no_event_and_becomes_nobody_else() {
    let receiver = Receiver::start().await.unwrap();
    let mut line = Line::new().await;
    line.webhook(&receiver.url("/hook"), json!({})).await;
    line.start();
    line.emit_all(1, 3).await;
    receiver.wait_accepted(PATIENCE, 3).await.unwrap();
    line.until(ALL_DONE).await;
    line.stop().await.unwrap();

    refused(&as_daemon(&line.url), FORBIDDEN).await;
    let forged = "select andon.emit_notified('s', 'c', 'job.done', '{}', 'acme', 'job', '1', '{}')";
    let forged = connect(&as_daemon(&line.url)).await.batch_execute(forged).await.unwrap_err();

    assert!(forged.as_db_error().unwrap().message().contains("source s has no channel c"), "{forged:?}");
}

#[tokio::test]
async fn the_grants_that_readme_gave_before_are_too_much_and_are_mended() {
    let server = Postgres::start().unwrap();
    let line = Line::on(&server).await;
    line.run(OLD_GRANTS).await;
    let url = as_daemon(&line.url);

    let before = run_andon(&url, &["check"]);
    role::grant(&line.client).await;
    let after = run_andon(&url, &["check"]);

    let told =
        before.out.lines().find(|line| line.starts_with("warning rights")).unwrap_or_else(|| panic!("{before:?}"));
    assert!(before.status == 0 && told.contains("andon_run may do more than `andon run` needs"), "{told}");
    assert!(told.contains("`andon grants --role andon_run` prints"), "{told}");
    assert!(!after.out.contains("rights"), "{after:?}");
    refused(&url, FORBIDDEN).await;
    line.run("create table andon.later (id int)").await;
    refused(&url, &["select from andon.later"]).await;
}

/// Brings a new database to where an earlier version left it.
async fn migrate_to_old(client: &Client) {
    let mut files: Vec<_> = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations"))
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    files.sort();
    let table = "create schema andon; create table andon.migrations
        (version integer primary key, name text not null, checksum text not null, applied_at timestamptz not null default now())";
    client.batch_execute(table).await.unwrap();
    for (version, file) in (1_i32..).zip(&files[..OLD_MIGRATIONS]) {
        let sql = std::fs::read_to_string(file).unwrap();
        client.batch_execute(&sql).await.unwrap();
        let done = "insert into andon.migrations (version, name, checksum) values ($1, $2, encode(sha256(convert_to($3, 'UTF8')), 'hex'))";
        client.execute(done, &[&version, &file.file_stem().unwrap().to_str().unwrap(), &sql]).await.unwrap();
    }
}

#[tokio::test]
async fn an_update_needs_no_new_grants_before_its_daemons_run_and_takes_nothing_from_the_old_ones() {
    let server = Postgres::start().unwrap();
    for (grants, keeps_more) in [(OLD_GRANTS, true), (MARK, false)] {
        let url = server.create_database().await.unwrap();
        let mut client = connect(&url).await;
        migrate_to_old(&client).await;
        if keeps_more {
            client.batch_execute("create role andon_run login").await.unwrap();
        }
        client.batch_execute(grants).await.unwrap();

        andon::migrate::migrate(&mut client).await.unwrap();

        let check = run_andon(&as_daemon(&url), &["check"]);
        let missing: Vec<_> =
            check.out.lines().filter(|line| line.contains("lacks") && !line.contains("costs more")).collect();
        assert!(check.out.contains("database") && missing.is_empty(), "{grants}: {missing:#?} {check:?}");
        let old = "select has_table_privilege('andon_run', 'andon.deliveries', 'insert')";
        assert_eq!(client.query_one(old, &[]).await.unwrap().get::<_, bool>(0), keeps_more, "{grants}");
    }
}

#[tokio::test]
async fn nobody_may_call_what_nobody_has_allowed() {
    let plant = Plant::empty().await;

    let open = "select coalesce(string_agg(p.oid::regprocedure::text, ' '), '') from pg_proc p
        where p.pronamespace = 'andon'::regnamespace
        and exists (select from aclexplode(coalesce(proacl, acldefault('f', proowner))) where grantee = 0)";
    let open: String = plant.client.query_one(open, &[]).await.unwrap().get(0);

    assert_eq!(open, "");
}

#[tokio::test]
async fn a_dashboard_sees_how_things_are_and_no_secret_address_or_payload() {
    let plant = Plant::empty().await;
    plant.run(&role::printed(&["--role", "board", "--for", "read"])).await;
    let url = plant.url.replace("//postgres@", "//board@");
    let board = connect(&url).await;

    for query in [
        "select lane, name, state, waiting, oldest, parked, dead, lost from andon.lane_status",
        "select lane, state, position from andon.lanes",
        "select * from andon.daemons",
        "select state, reason from andon.sources",
        "select count(id), max(captured_at) from andon.events",
        "select state, count(*) from andon.deliveries group by state",
        "select name, events from andon.webhooks",
        "select lane, outcome, code from andon.attempts",
        "select at, table_name, sqlstate from andon.capture_errors",
    ] {
        board.query(query, &[]).await.unwrap_or_else(|error| panic!("{query}: {error:?}"));
    }
    refused(
        &url,
        &[
            "select fingerprint from andon.lanes",
            "select reason from andon.lanes",
            "select reason from andon.lane_status",
            "select url from andon.webhooks",
            "select secret_key from andon.webhooks",
            "select settings from andon.webhooks",
            "select password from andon.mqtt_publishers",
            "select broker_url from andon.mqtt_publishers",
            "select data from andon.events",
            "select data from andon.deliveries",
            "select excerpt from andon.attempts",
            "select message from andon.capture_errors",
            "select new_image from andon.capture_errors",
            "select mapping from andon.sources",
            "delete from andon.lanes",
        ],
    )
    .await;
    refused(&url, FORBIDDEN).await;
}

#[tokio::test]
async fn the_owner_is_no_role_for_these_grants() {
    let plant = Plant::empty().await;

    let refused = plant.client.batch_execute(&role::printed(&["--role", "postgres"])).await.unwrap_err();
    plant.run("rollback").await;

    assert!(refused.as_db_error().unwrap().message().contains("name a role of its own"), "{refused:?}");
}
