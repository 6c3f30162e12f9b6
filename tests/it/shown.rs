//! What people see of destinations: names, reasons, logs, `andon check`, and what one destination is told of another. In: rows whose
//! addresses hold passwords and tokens. Out: whether any of it is shown.

use rig::Receiver;
use rig::ScriptedBroker;
use rig::ScriptedEndpoint;
use rig::receiver::Received;
use rig::scripted_broker;
use rig::scripted_endpoint::Step;
use serde_json::json;

use crate::command::run_andon;
use crate::support::daemon;
use crate::support::line::Line;
use crate::support::line::PATIENCE;

/// Returns all that a person can read of destinations in the database.
pub(crate) async fn told(line: &Line) -> String {
    let sql = "select string_agg(text, E'\\n') from (
        select concat(l.name, ' ', reason) from andon.lanes l
        union all select excerpt from andon.attempts
        union all select reason from andon.deliveries
        union all select concat(data, context) from andon.events where type like 'andon.%'
        union all select concat(mapping, reason) from andon.sources
        union all select concat(key, message) from andon.capture_errors
    ) it (text)";
    line.client.query_one(sql, &[]).await.unwrap().get::<_, Option<String>>(0).unwrap_or_default()
}

/// Starts an endpoint that answers with this status and body.
async fn answering(status: &str, body: &str) -> ScriptedEndpoint {
    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    ScriptedEndpoint::start(move |_| vec![Step::send(answer.clone())]).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_shown_as_scheme_host_and_port_whatever_it_holds() {
    let (line, receiver) = (Line::new().await, Receiver::start().await.unwrap());
    // Many servers repeat the path that they do not know.
    let lost = answering("404 Not Found", "Cannot POST /t0ken-path?key=t0ken-query as us3rname:p4ssword").await;
    let gone = answering("410 Gone", "Gone: /t0ken-path").await;
    let secret =
        |url: &str| url.replace("://", "://us3rname:p4ssword@").replace("/hook", "/t0ken-path?key=t0ken-query");
    let lost_lane = line.webhook(&secret(&lost.url()), json!({"retry": ["1h"]})).await;
    let gone_lane = line.webhook(&secret(&gone.url()), json!({})).await;
    let odd = line.webhook(&secret(&lost.url()).replace("http", "ftp"), json!({})).await;
    let broken = line.webhook("https://us3rname:p4ssword@ho st/t0ken-path", json!({})).await;
    let publisher = line.publisher(receiver.port(), json!({})).await;
    line.run(
        "update andon.mqtt_publishers set broker_url = 'mqtt://us3rname:p4ssword@127.0.0.1/t0ken-path?t0ken-query'",
    )
    .await;
    line.webhook(&receiver.url("/told"), json!({})).await;
    line.emit("acme", "e", 1).await;

    let daemon = daemon::start_with(&line.url, vec![("ANDON_LOG".into(), "trace".into())]).await;
    line.state(&gone_lane, "disabled").await;
    for lane in [&odd, &broken, &publisher] {
        line.state(lane, "misconfigured").await;
    }
    line.until(&format!("select exists (select from andon.deliveries where lane = '{lost_lane}' and attempts > 0)"))
        .await;
    let is_news = |it: &Received| String::from_utf8_lossy(&it.body).contains("andon.destination.disabled");
    receiver.acceptances().wait_for(PATIENCE, is_news).await.unwrap();
    let news = receiver.accepted().into_iter().find(|it| is_news(it)).unwrap();
    let name = lost.url().replace("/hook", &format!("#{}", lost_lane.split_once('/').unwrap().1));
    let check = run_andon(&line.url, &["check"]);
    let listed = run_andon(&line.url, &["deliveries", "--destination", &name]);
    let log = daemon.log();
    drop(daemon);

    let (told, news) = (told(&line).await, String::from_utf8_lossy(&news.body).into_owned());
    assert!(told.contains(&name) && news.contains("410"), "{told}\n{news}");
    assert!(listed.status == 0 && listed.out.contains("404"), "{}{}", listed.out, listed.err);
    for text in [told, news, check.out, check.err, listed.out, log] {
        for secret in ["p4ssword", "t0ken-path", "t0ken-query"] {
            assert!(!text.contains(secret), "{secret} is shown: {text}");
        }
    }
}

/// What a terminal would obey: it clears the screen, sets its title, turns the direction of writing and hides letters.
const HOSTILE: &str = "\u{1b}[2J\u{1b}]0;owned\u{7}\u{9b}31m\u{202e}\u{200b}\u{feff}\r\u{7f}";

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_comes_from_outside_moves_the_terminal_that_shows_it() {
    let line = Line::new().await;
    let body = answering("500 No", &format!("first{HOSTILE}\nsecond")).await;
    let status = answering(&format!("404 {HOSTILE}"), "gone").await;
    let broker = ScriptedBroker::start(|request| match request {
        scripted_broker::Request::Connect { .. } => {
            let words = scripted_broker::disconnect(0x97, &format!("not{HOSTILE} today"));
            scripted_broker::Answer::Last([scripted_broker::connack(5, 0), words].concat())
        }
        other => other.accepted(),
    })
    .await
    .unwrap();
    let lanes = [
        line.webhook(&body.url(), json!({"retry": ["1h"]})).await,
        line.webhook(&status.url(), json!({"retry": ["1h"]})).await,
    ];
    let odd = line.webhook(&body.url(), json!({ format!("a{HOSTILE}b"): 1, "timeout": HOSTILE })).await;
    let publisher = line.publisher(broker.port(), json!({})).await;
    let named = "update andon.webhooks set name = 'erp' || $1 where url = $2";
    line.client.execute(named, &[&HOSTILE, &body.url()]).await.unwrap();
    line.emit("acme", "e", 1).await;

    let text = daemon::start_with(&line.url, vec![("ANDON_LOG".into(), "debug".into())]).await;
    line.state(&odd, "misconfigured").await;
    line.state(&publisher, "retrying").await;
    for lane in &lanes {
        line.until(&format!("select exists (select from andon.deliveries where lane = '{lane}' and attempts > 0)"))
            .await;
    }
    let ids = line.client.query("select id from andon.deliveries", &[]).await.unwrap();
    let mut shown = vec![told(&line).await, text.log()];
    let commands = [
        vec!["check"],
        vec!["check", "--json"],
        vec!["deliveries"],
        vec!["deliveries", "--json"],
        vec!["replay", "--list"],
    ];
    let ids: Vec<String> = ids.iter().map(|row| row.get::<_, i64>(0).to_string()).collect();
    let stories = ids.iter().map(|id| vec!["deliveries", "show", id]);
    for arguments in commands.into_iter().chain(stories) {
        let run = run_andon(&line.url, &arguments);
        shown.extend([run.out, run.err]);
    }
    drop(text);

    assert!(shown[0].contains("first[2J]0;owned31m") && shown[0].contains("it says `not[2J"), "{:?}", shown[0]);
    for text in shown {
        let hidden = text.chars().find(|letter| andon::legible::is_hidden(*letter) && !matches!(letter, '\n' | '\t'));
        assert_eq!(hidden, None, "{text:?}");
    }
}
