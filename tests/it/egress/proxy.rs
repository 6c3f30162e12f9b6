//! The way out through a proxy of the configuration. In: an endpoint with and without TLS, a server of tokens and a broker, and proxies that let
//! Andon through, are away or refuse it. Out: whether all of them are reached that way and no other, and whether the proxy is told as the one at
//! fault, without its password.

use std::os::unix::fs::PermissionsExt as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rig::ConnectProxy;
use rig::Mosquitto;
use rig::Proxy;
use rig::Receiver;
use rig::ScriptedEndpoint;
use rig::TlsFront;
use rig::mosquitto::MosquittoOptions;
use rig::scripted_endpoint::Step;
use rig::tls_front::Speaks;
use serde_json::json;

use crate::command::run_andon_with;
use crate::mqtt::wait_for_done;
use crate::shown::told;
use crate::support::authority::Authority;
use crate::support::daemon;
use crate::support::line::Line;
use crate::support::line::PATIENCE;

/// Starts an endpoint or a proxy that answers everything with this text. Returns its port too.
async fn answering(text: &str) -> (ScriptedEndpoint, u16) {
    let text = text.to_owned();
    let server = ScriptedEndpoint::start(move |_| vec![Step::send(text.clone())]).await.unwrap();
    let port = server.url().rsplit(':').next().unwrap().trim_end_matches("/hook").parse().unwrap();
    (server, port)
}

#[tokio::test(flavor = "multi_thread")]
async fn all_destinations_are_reached_through_the_proxy_and_its_password_is_shown_nowhere() {
    let authority = Authority::new();
    let (certificate, key) = authority.sign("localhost", 2099);
    let (line, receiver) = (Line::new().await, Receiver::start().await.unwrap());
    let broker = Mosquitto::start(&MosquittoOptions::default()).unwrap();
    let tls = TlsFront::start(receiver.port(), Speaks::Tls { certificate, key, clients: None, protocols: vec![] })
        .await
        .unwrap();
    let token = "HTTP/1.1 200 OK\r\ncontent-length: 25\r\n\r\n{\"access_token\": \"t0ken\"} ";
    let (tokens, token_port) = answering(token).await;
    let pair = STANDARD.encode("andon:pl4nted:word");
    let proxy = ConnectProxy::start(Some(format!("Basic {pair}"))).await.unwrap();
    line.webhook(&receiver.url("/plain"), json!({})).await;
    line.webhook(&format!("https://localhost:{}/tls", tls.port()), json!({"ca": authority.pem})).await;
    line.webhook(&receiver.url("/granted"), json!({})).await;
    line.run(&format!(
        "update andon.webhooks set oauth_token_url = '{}', oauth_client_id = 'andon', oauth_client_secret = 'cl13nt' where url like '%/granted'",
        tokens.url()
    ))
    .await;
    let publisher = line.publisher(broker.port(), json!({})).await;
    line.emit("acme", "e", 1).await;
    let file = authority.file("proxy", &format!("http://andon:pl4nted%3Aword@localhost:{}\n", proxy.port()));
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let file = file.to_str().unwrap();

    let environment = vec![("ANDON_LOG".into(), "trace".into()), ("ANDON_EGRESS_PROXY_FILE".into(), file.into())];
    let daemon = daemon::start_with(&line.url, environment).await;
    receiver.wait_accepted(PATIENCE, 3).await.unwrap();
    wait_for_done(&line, &publisher).await;
    let check = run_andon_with(&line.url, &["check"], &[("ANDON_EGRESS_PROXY_FILE", file)]);
    assert_eq!(daemon.stop().await.unwrap(), 0, "{}", daemon.log_tail());

    let mut paths: Vec<_> = receiver.accepted().iter().map(|it| it.path.clone()).collect();
    paths.sort();
    assert_eq!(paths, ["/granted", "/plain", "/tls"]);
    let asked = proxy.requests().snapshot();
    for port in [receiver.port(), tls.port(), broker.port(), token_port] {
        assert!(asked.iter().any(|it| it.target == format!("127.0.0.1:{port}")), "{port}: {asked:?}");
    }
    assert!(asked.iter().all(|it| it.authorization.as_ref().is_some_and(|shown| *shown == format!("Basic {pair}"))));
    let there = format!("are reached through the proxy localhost:{}, which is there", proxy.port());
    assert!(check.out.contains(&there), "{}", check.out);
    let all = format!("{}{}{}{}", daemon.log(), check.out, check.err, told(&line).await);
    for secret in ["pl4nted", &pair] {
        assert!(!all.contains(secret), "{secret} is shown");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_answers_in_the_name_of_an_endpoint_is_shown_without_its_password() {
    let (line, receiver) = (Line::new().await, Receiver::start().await.unwrap());
    let said = format!("by andon:pl4nted&w0rd, {}, pl4nted&amp;w0rd", STANDARD.encode("andon:pl4nted&w0rd"));
    let lying = ScriptedEndpoint::start(move |request| match request.body.is_empty() {
        true => vec![Step::send("HTTP/1.1 200 OK\r\n\r\n")],
        false => vec![Step::send(format!("HTTP/1.1 410 Gone\r\ncontent-length: {}\r\n\r\n{said}", said.len()))],
    })
    .await
    .unwrap();
    let lane = line.webhook(&receiver.url("/hook"), json!({})).await;
    line.emit("acme", "e", 1).await;
    let at = lying.url().replace("//", "//andon:pl4nted%26w0rd@").replace("/hook", "");

    let daemon = daemon::start_with(
        &line.url,
        vec![("ANDON_LOG".into(), "trace".into()), ("ANDON_EGRESS_PROXY".into(), at.into())],
    )
    .await;
    let reason = line.state(&lane, "disabled").await;
    line.until("select exists (select from andon.events where type = 'andon.destination.disabled')").await;
    assert_eq!(daemon.stop().await.unwrap(), 0, "{}", daemon.log_tail());

    assert!(reason.starts_with("answered 410: by andon:…, "), "{reason}");
    let events = line.text("select string_agg(data::text, ' ') from andon.events").await;
    let all = format!("{reason}{}{}{events}", daemon.log(), told(&line).await);
    for secret in ["pl4nted", "w0rd", &STANDARD.encode("pl4nted")[..8], &STANDARD.encode("andon:pl4nted&w0rd")[8..16]] {
        assert!(!all.contains(secret), "{secret} is shown: {reason}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_is_away_or_refuses_is_told_and_costs_no_event() {
    let (mut line, receiver) = (Line::new().await, Receiver::start().await.unwrap());
    let broker = Mosquitto::start(&MosquittoOptions::default()).unwrap();
    let proxy = ConnectProxy::start(None).await.unwrap();
    let (_refusing, refuses_at) = answering("HTTP/1.1 403 Forbidden\r\n\r\n").await;
    let way = Proxy::start(proxy.port()).await.unwrap();
    way.refuse(true).await.unwrap();
    let at = format!("http://127.0.0.1:{}", way.port());
    line.defaults.egress = line.defaults.egress.clone().through(&at).unwrap();
    let hook = line.webhook(&receiver.url("/hook"), json!({"retry": vec!["1s"; 100]})).await;
    let publisher = line.publisher(broker.port(), json!({})).await;
    line.emit_all(10, 1).await;
    line.start();

    let away = [line.state(&hook, "open").await, line.state(&publisher, "retrying").await];
    let check = run_andon_with(&line.url, &["check"], &[("ANDON_EGRESS_PROXY", &at)]);
    way.redirect(refuses_at);
    way.refuse(false).await.unwrap();
    line.until("select count(*) = 2 from andon.lanes where reason like '%403%'").await;
    let refused = told(&line).await;
    way.redirect(proxy.port());

    receiver.wait_accepted(PATIENCE, 10).await.unwrap();
    wait_for_done(&line, &publisher).await;
    line.stop().await.unwrap();
    let name = format!("the proxy 127.0.0.1:{} of [egress]", way.port());
    for reason in away {
        assert!(reason.contains(&format!("{name} cannot be reached: ")), "{reason}");
    }
    assert!(check.out.contains(&format!("{name} cannot be reached: ")) && check.status == 1, "{}", check.out);
    let may_not =
        format!("{name} may not connect to the address of 127.0.0.1 port {} (it answered 403)", broker.port());
    assert!(refused.contains(&may_not), "{refused}");
    let dead = "select count(*) from andon.deliveries where state = 'dead'";
    assert_eq!(line.client.query_one(dead, &[]).await.unwrap().get::<_, i64>(0), 0);
}
