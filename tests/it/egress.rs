//! What destinations may reach. In: a webhook and a broker on loopback, named in several ways. Out: whether they are refused unless the
//! configuration names them, and whether the lane's state, the attempts and `andon check` say why. All of it stays on loopback.

mod proxy;

use andon::egress::Egress;
use rig::Mosquitto;
use rig::Receiver;
use rig::mosquitto::MosquittoOptions;
use serde_json::json;
use tokio::net::TcpListener;

use crate::command::Run;
use crate::support::daemon;
use crate::support::line::Line;
use crate::support::line::PATIENCE;

#[tokio::test(flavor = "multi_thread")]
async fn loopback_is_refused_with_the_reason_until_the_configuration_names_it() {
    let (mut line, receiver) = (Line::new().await, Receiver::start().await.unwrap());
    let broker = Mosquitto::start(&MosquittoOptions::default()).unwrap();
    let (to, at) = (receiver.port(), broker.port());
    line.defaults.egress = Egress::default();
    let hook = line.webhook(&receiver.url("/literal"), json!({})).await;
    let odd = line.webhook(&format!("http://2130706433:{to}/odd"), json!({})).await;
    let named = line.webhook(&format!("http://localhost:{to}/named"), json!({"retry": ["30d"]})).await;
    let publisher = line.publisher(at, json!({})).await;
    let alias = line.publisher(at, json!({})).await;
    line.run(
        "update andon.mqtt_publishers set broker_url = 'localhost' where id = (select max(id::text)::uuid from andon.mqtt_publishers)",
    )
    .await;
    let by_name = [&publisher, &alias].into_iter().max().unwrap();
    let by_address = [&publisher, &alias].into_iter().min().unwrap();
    line.emit("acme", "e", 1).await;
    line.start();

    let reasons = [
        line.state(&hook, "misconfigured").await,
        line.state(&odd, "misconfigured").await,
        line.state(by_address, "misconfigured").await,
        line.state(by_name, "retrying").await,
    ];
    line.until(&format!("select exists (select from andon.deliveries where lane = '{named}' and attempts > 0)")).await;
    let parked = line.parked(&named).await.join("\n");
    line.stop().await.unwrap();
    let attempt = "select coalesce(excerpt, '') from andon.attempts where lane = $1 limit 1";
    let excerpt: String = line.client.query_one(attempt, &[&named]).await.unwrap().get(0);

    let (hint, port) = (format!("add \"127.0.0.1:{to}\" to [egress] allow"), format!("add \"127.0.0.1:{at}\""));
    assert!(reasons[0].contains("is a loopback address") && reasons[0].contains(&hint), "{reasons:?}");
    assert!(reasons[1].contains(&hint) && reasons[2].contains(&port), "{reasons:?}");
    let advice = format!(
        "localhost leads to a loopback address, which no destination may reach; add its address with port {to}"
    );
    assert!(reasons[3].contains("localhost leads to a loopback address"), "{reasons:?}");
    assert!(parked.contains(&advice) && excerpt.contains(&advice), "{parked}\n{excerpt}");
    assert_eq!(receiver.received().len(), 0);
    // The one connection is that with which the rig found the broker listening.
    assert!(broker.log().matches("New connection").count() <= 1, "{}", broker.log());

    let refused = check_allowing(&line.url, "");
    let allowed = check_allowing(&line.url, &format!("127.0.0.1:{to},127.0.0.1:{at}"));

    assert!(refused.status == 1 && refused.out.matches("loopback address").count() >= 5, "{}", refused.out);
    assert!(!allowed.out.contains("loopback address"), "{}", allowed.out);

    let items: Vec<String> = [to, at].map(|port| format!("127.0.0.1:{port}")).to_vec();
    line.defaults.egress = Egress::default().allow(&items).unwrap();
    line.start();

    line.state(by_address, "running").await;
    line.state(by_name, "running").await;
    receiver.wait_accepted(PATIENCE, 2).await.unwrap();
    line.stop().await.unwrap();
}

/// Runs `andon check` with this text as `[egress] allow`.
fn check_allowing(url: &str, items: &str) -> Run {
    crate::command::run_andon_with(url, &["check"], &[("ANDON_EGRESS_ALLOW", items)])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_of_the_environment_is_not_used() {
    let (line, receiver) = (Line::new().await, Receiver::start().await.unwrap());
    let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = format!("http://{}", proxy.local_addr().unwrap());
    line.webhook(&receiver.url("/hook"), json!({})).await;
    line.emit("acme", "e", 1).await;
    let names = ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];

    let daemon = daemon::start_with(&line.url, names.map(|name| (name.into(), at.clone().into())).to_vec()).await;
    tokio::select! {
        biased;
        asked = proxy.accept() => panic!("the proxy was asked: {asked:?}"),
        accepted = receiver.wait_accepted(PATIENCE, 1) => accepted.unwrap(),
    }

    drop(daemon);
}
