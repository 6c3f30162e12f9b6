//! Databases in other encodings than UTF-8. In: the encodings of old plants. Out: whether schema, mappings and events work there, and what is
//! said about the one encoding that is none.

use rig::Postgres;
use rig::Receiver;
use serde_json::Value;
use serde_json::json;

use crate::command::file;
use crate::command::run_andon;
use crate::support::line::Line;
use crate::support::line::PATIENCE;
use crate::support::plant::ERYXON;
use crate::support::plant::SCHEMA;
use crate::support::plant::connect;
use crate::support::role;

async fn database_in(encoding: &str) -> String {
    let server = Postgres::shared();
    let name = format!("plant_{}_{:08x}", encoding.to_lowercase(), rand::random::<u32>());
    let admin = connect(&server.url("postgres")).await;
    let create = format!("create database {name} encoding '{encoding}' locale 'C' template template0");
    admin.batch_execute(&create).await.unwrap();
    server.url(&name)
}

#[tokio::test(flavor = "multi_thread")]
async fn in_every_encoding_the_schema_a_mapping_and_events_work() {
    let words =
        [("LATIN1", "Säge"), ("LATIN9", "Preis in €"), ("KOI8R", "Станок"), ("WIN1252", "Fräse"), ("EUC_JP", "旋盤")];
    for (encoding, word) in words {
        let receiver = Receiver::start().await.unwrap();
        let url = database_in(encoding).await;

        let migrate = run_andon(&url, &["migrate"]);
        let mut line = Line::at(&url).await;
        line.run(SCHEMA).await;
        let attach = run_andon(&url, &["attach", "--source", ERYXON]);
        let check = run_andon(&url, &["check"]);
        role::grant(&line.client).await;
        line.webhook(&receiver.url("/hook"), json!({})).await;
        line.start();
        line.run(&format!("select andon.emit('job.updated', '{{\"word\": \"{word}\"}}', 'acme', 'job', '{word}')"))
            .await;
        receiver.wait_accepted(PATIENCE, 1).await.unwrap();
        line.stop().await.unwrap();

        assert_eq!((migrate.status, attach.status), (0, 0), "{encoding}: {migrate:?} {attach:?}");
        assert!(!check.out.contains("FAULT"), "{encoding}: {check:?}");
        let body: Value = serde_json::from_slice(&receiver.accepted()[0].body).unwrap();
        assert_eq!((&body["data"]["word"], &body["entity"]["id"]), (&json!(word), &json!(word)), "{encoding}");
    }
}

#[tokio::test]
async fn a_mapping_with_characters_that_the_database_cannot_hold_says_so() {
    let url = database_in("LATIN1").await;
    run_andon(&url, &["migrate"]);
    let mapping = file(
        "cyrillic.toml",
        "# Станки\n[source]\nname = 'line'\n[[channel]]\nchannel = 'machines'\ntype = 'machine.down'\nentity_type = 'machine'\n",
    );

    let attach = run_andon(&url, &["attach", "--source", &mapping]);

    std::fs::remove_file(mapping).unwrap();
    assert_eq!(attach.status, 1, "{attach:?}");
    assert!(attach.err.contains("LATIN1") && attach.err.contains("comments included"), "{attach:?}");
}

#[tokio::test]
async fn a_database_without_an_encoding_is_refused_with_what_to_do() {
    let url = database_in("SQL_ASCII").await;

    for command in ["migrate", "check", "run"] {
        let run = run_andon(&url, &[command]);

        assert_eq!(run.status, 1, "{run:?}");
        let said = run.out + &run.err;
        assert!(said.contains("SQL_ASCII") && said.contains("createdb -E UTF8"), "{command}: {said}");
    }
}
