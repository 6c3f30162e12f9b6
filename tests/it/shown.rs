//! What people see of destinations: names, reasons, logs, `andon check`, and what one destination is told of another. In: rows whose
//! addresses hold passwords and tokens. Out: whether any of it is shown.

use rig::Receiver;
use rig::ScriptedEndpoint;
use rig::receiver::Received;
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
