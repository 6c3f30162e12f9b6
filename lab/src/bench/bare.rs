//! The bare loops, which show what the client libraries can do when there is nothing else to do. In: bytes in memory. Out: the time until
//! the last PUBACK or 2xx. They use the same windows, connections and signatures as the gateway, but read no log, keep no order and write
//! no cursor.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context as _;
use anyhow::Result;
use anyhow::ensure;
use bytes::Bytes;
use futures_util::future::try_join_all;
use http_body_util::BodyExt as _;
use http_body_util::Full;
use hyper::Request;
use hyper_util::rt::TokioIo;
use rumqttc_v5::AsyncClient;
use rumqttc_v5::Broker;
use rumqttc_v5::Event;
use rumqttc_v5::MqttOptions;
use rumqttc_v5::NetworkOptions;
use rumqttc_v5::Packet;
use rumqttc_v5::PublishOptions;
use rumqttc_v5::PublishProperties;
use tokio::net::TcpStream;

use crate::bench::sink::SECRET;
use rig::signature::Key;

/// One message, as the gateway would send it.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) topic: String,
    pub(super) payload: Bytes,
}

/// Which HTTP client.
#[derive(Debug, Clone, Copy)]
pub(super) enum Http {
    Reqwest,
    Hyper,
}

/// The batch of the gateway's own lanes, so that both do the same.
const BATCH: usize = 64;

/// Publishes `count` messages at QoS 1 over one connection, in turns, with up to `window` of them unacknowledged, or as many as the broker
/// grants. Returns how long it took.
pub(super) async fn publish(port: u16, messages: Arc<[Message]>, count: usize, window: u16) -> Result<Duration> {
    let mut options = MqttOptions::new(format!("bare-{:08x}", rand::random::<u32>()), Broker::tcp("127.0.0.1", port));
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    options.set_network_options(network).set_clean_start(true);
    options.set_max_request_batch(BATCH).set_read_batch_size(BATCH);
    options.set_outgoing_inflight_upper_limit(window.saturating_add(8));
    let (client, mut events) = AsyncClient::builder(options).capacity(usize::from(window) + 8).build();
    let granted = loop {
        if let Event::Incoming(Packet::ConnAck(connack)) =
            events.poll().await.context("the bare loop cannot connect")?
        {
            break connack.properties.and_then(|it| it.receive_max).unwrap_or(u16::MAX);
        }
    };
    let window = usize::from(window.min(granted));
    let properties = |number: usize| PublishProperties {
        user_properties: vec![("event_id".to_owned(), format!("{number:036}"))],
        content_type: Some("application/json".to_owned()),
        ..PublishProperties::default()
    };
    let (mut sent, mut acknowledged) = (0, 0);
    let begun = Instant::now();
    while acknowledged < count {
        while sent < count && sent - acknowledged < window {
            let message = &messages[sent % messages.len()];
            let options = PublishOptions::at_least_once().properties(properties(sent));
            client.try_publish(message.topic.as_str(), message.payload.clone(), options)?;
            sent += 1;
        }
        let event = events.poll().await.context("the bare loop lost its broker")?;
        acknowledged += usize::from(matches!(event, Event::Incoming(Packet::PubAck(_))));
    }
    Ok(begun.elapsed())
}

/// Makes `count` signed POSTs of these messages, in turns, `concurrency` of them at a time. Returns how long it took.
pub(super) async fn post(
    client: Http,
    url: &str,
    messages: Arc<[Message]>,
    count: u64,
    concurrency: usize,
) -> Result<Duration> {
    let next = AtomicU64::new(0);
    let secret = Key::parse(SECRET).map_err(anyhow::Error::msg)?;
    let salt = rand::random::<u32>();
    let take = || {
        let number = next.fetch_add(1, Ordering::Relaxed);
        (number < count).then(|| {
            let body = messages[number as usize % messages.len()].payload.clone();
            let id = format!("{salt:08x}{number:024x}_bare");
            let seconds = jiff::Timestamp::now().as_second();
            let signature = secret.sign(&id, seconds, &body);
            Signed { id, seconds, signature, body }
        })
    };
    let begun = Instant::now();
    match client {
        Http::Reqwest => {
            let client = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(concurrency).build()?;
            try_join_all((0..concurrency).map(|_| by_reqwest(&client, url, take))).await?;
        }
        Http::Hyper => drop(try_join_all((0..concurrency).map(|_| by_hyper(url, take))).await?),
    }
    Ok(begun.elapsed())
}

struct Signed {
    id: String,
    seconds: i64,
    signature: String,
    body: Bytes,
}

async fn by_reqwest(client: &reqwest::Client, url: &str, take: impl Fn() -> Option<Signed>) -> Result<()> {
    while let Some(signed) = take() {
        let request = client
            .post(url)
            .timeout(Duration::from_secs(15))
            .header("content-type", "application/json")
            .header("webhook-id", signed.id)
            .header("webhook-timestamp", signed.seconds)
            .header("webhook-signature", signed.signature);
        let response = request.body(signed.body).send().await?;
        ensure!(response.status().is_success(), "the receiver answered {}", response.status());
        response.bytes().await?;
    }
    Ok(())
}

/// Posts over one connection, which is kept.
async fn by_hyper(url: &str, take: impl Fn() -> Option<Signed>) -> Result<()> {
    let url: hyper::Uri = url.parse()?;
    let authority = url.authority().context("a URL without a host")?.as_str();
    let socket = TcpStream::connect(authority).await?;
    socket.set_nodelay(true)?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(socket)).await?;
    tokio::spawn(connection);
    while let Some(signed) = take() {
        let request = Request::post(url.path())
            .header("host", authority)
            .header("content-type", "application/json")
            .header("webhook-id", signed.id)
            .header("webhook-timestamp", signed.seconds)
            .header("webhook-signature", signed.signature)
            .body(Full::new(signed.body))?;
        sender.ready().await?;
        let response = sender.send_request(request).await?;
        ensure!(response.status().is_success(), "the receiver answered {}", response.status());
        response.into_body().collect().await?;
    }
    Ok(())
}
