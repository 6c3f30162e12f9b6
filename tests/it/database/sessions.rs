//! The defaults that somebody may have set for a database or a role. In: defaults that end sessions, hide rows, refuse writes or change what
//! a statement means. Out: whether Andon's sessions are free of them, whether everything is delivered, and whether each lost session is
//! told.

use std::collections::BTreeMap;

use andon::capture::Mapping;
use andon::capture::attach;
use andon::database;
use andon::database::Database;
use andon::secret::Secret;
use rig::Receiver;
use serde_json::json;

use crate::command::run_andon;
use crate::support::daemon;
use crate::support::line::ALL_DONE;
use crate::support::line::Line;
use crate::support::line::PATIENCE;
use crate::support::line::prepare_process;
use crate::support::plant::connect;

/// Defaults that would hurt, each with the value that a session of Andon has instead.
const DEFAULTS: &[(&str, &str, &str)] = &[
    ("default_transaction_isolation", "serializable", "read committed"),
    ("default_transaction_read_only", "on", "off"),
    ("default_transaction_deferrable", "on", "off"),
    ("statement_timeout", "10s", "0"),
    ("lock_timeout", "10s", "0"),
    // On a busy machine it takes a while until a new session has its own.
    ("idle_session_timeout", "2s", "0"),
    ("idle_in_transaction_session_timeout", "2s", "60000"),
    ("search_path", "nowhere", "pg_catalog, pg_temp"),
    ("row_security", "on", "off"),
    ("session_replication_role", "replica", "origin"),
    ("DateStyle", "SQL, DMY", "ISO, MDY"),
    ("IntervalStyle", "sql_standard", "postgres"),
    ("TimeZone", "Asia/Kolkata", "UTC"),
    ("bytea_output", "escape", "hex"),
    ("extra_float_digits", "-15", "1"),
    ("standard_conforming_strings", "off", "on"),
    ("quote_all_identifiers", "on", "off"),
    ("array_nulls", "off", "on"),
    ("client_min_messages", "debug1", "warning"),
    ("plan_cache_mode", "force_custom_plan", "auto"),
    ("exit_on_error", "on", "off"),
    ("jit", "on", "off"),
];

async fn with_these_defaults(line: &Line) {
    let name = line.url.rsplit('/').next().unwrap();
    for (setting, value, _) in DEFAULTS {
        let value = if value.contains(',') { (*value).to_owned() } else { format!("'{value}'") };
        line.run(&format!("alter database {name} set {setting} = {value}")).await;
    }
}

#[tokio::test]
async fn no_default_of_the_database_holds_in_a_session_of_andon() {
    prepare_process();
    let line = Line::new().await;
    with_these_defaults(&line).await;
    let settings = database::Settings { url: Secret::new(line.url.clone()), ca_file: None };

    let client = Database::new(&settings).unwrap().connect().await.unwrap();

    let rows = client.query("select lower(name), setting from pg_settings", &[]).await.unwrap();
    let has: BTreeMap<String, String> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    for (setting, _, wanted) in DEFAULTS {
        assert_eq!(has[&setting.to_lowercase()], *wanted, "{setting}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn under_defaults_that_hurt_everything_works_all_the_same() {
    let (line, receiver) = (Line::new().await, Receiver::start().await.unwrap());
    line.webhook(&receiver.url("/hook"), json!({})).await;
    with_these_defaults(&line).await;

    let migrate = run_andon(&line.url, &["migrate"]);
    let daemon = daemon::start(&line.url).await;
    daemon.ready().await.unwrap();
    line.emit_all(5, 20).await;

    receiver.wait_accepted(PATIENCE, 100).await.unwrap();
    line.until(ALL_DONE).await;
    assert_eq!((migrate.status, daemon.stop().await.unwrap()), (0, 0), "{migrate:?}");
    assert!(!daemon.log().contains("WARN") && !daemon.log().contains("ERROR"), "{}", daemon.log());
}

const MAPPING: &str = "
[source]
name = 'line'
[[channel]]
channel = 'machines'
type_path = 'event'
entity_type = 'machine'";

#[tokio::test(flavor = "multi_thread")]
async fn each_lost_session_that_listens_to_the_channels_is_told_with_its_cause() {
    let line = Line::new().await;
    attach(&mut connect(&line.url).await, &Mapping::parse("line.toml", MAPPING).unwrap()).await.unwrap();
    let daemon = daemon::start(&line.url).await;
    let listening = "from pg_stat_activity where datname = current_database() and query like 'listen \"machines\"%'";
    line.until(&format!("select exists (select {listening} and state = 'idle')")).await;

    for _ in 0..3 {
        let pid: i32 = line.client.query_one(&format!("select pid {listening}"), &[]).await.unwrap().get(0);
        line.run(&format!("select pg_terminate_backend({pid})")).await;
        line.until(&format!("select exists (select {listening} and state = 'idle' and pid <> {pid})")).await;
    }

    let log = daemon.log();
    let told = log.lines().filter(|line| line.contains("ERROR") && line.contains("administrator command"));
    assert_eq!(told.count(), 3, "{log}");
}
