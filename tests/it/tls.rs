//! TLS to all three kinds of peers. In: a database, a broker and an endpoint behind certificates that are wrong in every usual way. Out: whether each
//! connection is refused, and whether the message says what to do.

use andon::database;
use andon::database::Database;
use andon::secret::Secret;
use rig::Mosquitto;
use rig::MosquittoOptions;
use rig::Postgres;
use rig::Receiver;
use rig::TlsFront;
use rig::tls_front::Speaks;
use serde_json::json;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;

use crate::mqtt::set;
use crate::mqtt::wait_for_done;
use crate::support::authority::Authority;
use crate::support::line::Line;

/// A server's TLS, and what has to be said of it. The database and the others name different settings.
struct Case {
    name: &'static str,
    speaks: Speaks,
    database: [&'static str; 2],
    destination: [&'static str; 2],
}

fn case(name: &'static str, (certificate, key): (String, String), reason: &'static str, advice: &'static str) -> Case {
    let speaks = Speaks::Tls { certificate, key, clients: None, protocols: vec![] };
    Case { name, speaks, database: [reason, advice], destination: [reason, advice] }
}

/// Makes the certificate of a CA that names this host, and its key.
fn as_authority(host: &str) -> (String, String) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec![host.to_owned()]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

/// All that can be wrong, for a client that trusts `authority`.
fn cases(authority: &Authority) -> Vec<Case> {
    let (other, itself) = (Authority::new(), rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap());
    let itself = (itself.cert.pem(), itself.signing_key.serialize_pem());
    let unknown = |name, pair, reason| {
        let (database, destination) = (
            "neither one of the system's nor one that is named; name the CA that signed it in database.ca_file",
            "neither one of the system's nor one that is named; name the CA that signed it in settings.ca_file",
        );
        Case { database: [reason, database], destination: [reason, destination], ..case(name, pair, "", "") }
    };
    let (certificate, key) = authority.sign("localhost", 2099);
    let wants = Speaks::Tls { certificate, key, clients: Some(authority.pem.clone()), protocols: vec![] };
    let (long, long_key) = authority.sign("localhost", 2099);
    vec![
        case("that shows a CA", as_authority("localhost"), "CaUsedAsEndEntity", "give it one of its own"),
        case("with too many certificates", (long.repeat(200), long_key), "TLS", "more than 64 KiB together"),
        case("expired", authority.sign("localhost", 2020), "expired", "the server needs a new one"),
        case("not yet valid", authority.sign_between("localhost", 2098, 2099), "not valid yet", "look at the clocks"),
        case(
            "of another host",
            authority.sign("broker.example", 2099),
            "not valid for name",
            "connect by a name that stands in it",
        ),
        unknown("signed by itself", itself, "invalid peer certificate"),
        unknown("of another CA", other.sign("localhost", 2099), "invalid peer certificate"),
        Case {
            speaks: Speaks::OldTls,
            ..case("TLS 1.1", authority.sign("localhost", 2099), "TLS", "has to speak TLS 1.2 or 1.3")
        },
        Case {
            name: "that wants a client certificate",
            speaks: wants,
            database: ["wants a client certificate", "set sslcert and sslkey in the URL"],
            destination: ["wants a client certificate", "set settings.client_cert_file and settings.client_key_file"],
        },
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_is_not_the_one_that_is_meant_is_refused_with_what_to_do() {
    let authority = Authority::new();
    let ca_file = authority.file("ca.pem", &authority.pem);
    let (postgres, broker) = (Postgres::shared(), Mosquitto::start(&MosquittoOptions::default()).unwrap());
    let receiver = Receiver::start().await.unwrap();
    let mut line = Line::new().await;
    line.defaults.certificates = Some(authority.directory.clone());
    let (mut fronts, mut lanes) = (Vec::new(), Vec::new());
    for case in cases(&authority) {
        let before = async |port| TlsFront::start(port, case.speaks.clone()).await.unwrap();
        let database = before(postgres.port()).await;
        let url = format!("postgres://postgres@localhost:{}/postgres?sslmode=verify-full", database.port());
        let settings = database::Settings { url: Secret::new(url), ca_file: Some(ca_file.clone()) };
        let error = Database::new(&settings).unwrap().connect().await.expect_err(case.name);
        let reason = format!("{:#}", anyhow::Error::from(error));
        assert!(case.database.iter().all(|part| reason.contains(part)), "a database {}: {reason}", case.name);

        let settings = json!({"ca_file": "ca.pem"});
        let (mqtt, https) = (before(broker.port()).await, before(receiver.port()).await);
        let publisher = line.publisher(mqtt.port(), settings.clone()).await;
        let webhook = line.webhook(&format!("https://localhost:{}/hook", https.port()), settings).await;
        lanes.push((case, publisher, webhook));
        fronts.extend([mqtt, https]);
    }
    set(&line, "broker_url = 'mqtts://localhost'").await;
    line.emit("acme", "e", 1).await;

    line.start();

    for (Case { name, destination, .. }, publisher, webhook) in &lanes {
        let reason = line.state(publisher, "retrying").await;
        assert!(destination.iter().all(|part| reason.contains(part)), "a broker {name}: {reason}");
        line.until(&format!("select exists (select from andon.attempts where lane = '{webhook}')")).await;
        let sql = "select excerpt from andon.attempts where lane = $1";
        let reason: String = line.client.query(sql, &[webhook]).await.unwrap()[0].get(0);
        assert!(destination.iter().all(|part| reason.contains(part)), "an endpoint {name}: {reason}");
    }
    line.stop().await.unwrap();
    assert_eq!(receiver.received().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_shows_its_certificate_to_all_peers_that_want_one() {
    let authority = Authority::new();
    let ca_file = authority.file("ca.pem", &authority.pem);
    let (certificate, key) = authority.sign("andon", 2099);
    let (cert_file, key_file) = (authority.file("andon.pem", &certificate), authority.file("andon.key", &key));
    let (postgres, broker) = (Postgres::shared(), Mosquitto::start(&MosquittoOptions::default()).unwrap());
    let receiver = Receiver::start().await.unwrap();
    let (certificate, key) = authority.sign("localhost", 2099);
    let speaks = Speaks::Tls { certificate, key, clients: Some(authority.pem.clone()), protocols: vec![] };
    let before = async |port| TlsFront::start(port, speaks.clone()).await.unwrap();
    let (database, mqtt, https) =
        (before(postgres.port()).await, before(broker.port()).await, before(receiver.port()).await);
    let mut line = Line::new().await;
    line.defaults.certificates = Some(authority.directory.clone());
    let shown = json!({"ca_file": "ca.pem", "client_cert_file": "andon.pem", "client_key_file": "andon.key"});
    let publisher = line.publisher(mqtt.port(), shown.clone()).await;
    let webhook = line.webhook(&format!("https://localhost:{}/hook", https.port()), shown).await;
    set(&line, "broker_url = 'mqtts://localhost'").await;
    line.emit("acme", "e", 1).await;
    // The gateway's own connections go the same way.
    let identity =
        format!("sslcert={}&sslkey={}&sslrootcert={}", cert_file.display(), key_file.display(), ca_file.display());
    let url = line.url.replace(&format!("127.0.0.1:{}", postgres.port()), &format!("localhost:{}", database.port()));

    line.start_at(&format!("{url}?sslmode=verify-full&{identity}"));

    for lane in [publisher, webhook] {
        wait_for_done(&line, &lane).await;
    }
    line.stop().await.unwrap();
    assert_eq!(receiver.accepted().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_shares_its_port_is_asked_for_by_its_name_and_its_protocol() {
    let authority = Authority::new();
    authority.file("ca.pem", &authority.pem);
    let broker = Mosquitto::start(&MosquittoOptions::default()).unwrap();
    let (certificate, key) = authority.sign("localhost", 2099);
    let protocols = ["x-amzn-mqtt-ca", "mqtt"].map(str::to_owned).to_vec();
    let front = TlsFront::start(broker.port(), Speaks::Tls { certificate, key, clients: None, protocols });
    let front = front.await.unwrap();
    let mut line = Line::new().await;
    line.defaults.certificates = Some(authority.directory.clone());
    let settings = |alpn: &str| json!({"ca_file": "ca.pem", "alpn": alpn});
    let good = line.publisher(front.port(), settings("mqtt")).await;
    let other = line.publisher(front.port(), settings("amqp")).await;
    set(&line, "broker_url = 'mqtts://localhost'").await;
    line.emit("acme", "e", 1).await;

    line.start();
    wait_for_done(&line, &good).await;
    let refused = line.state(&other, "retrying").await;
    line.stop().await.unwrap();

    let greetings = front.greetings().snapshot();
    assert_eq!((greetings[0].server.as_deref(), greetings[0].protocol.as_deref()), (Some("localhost"), Some("mqtt")));
    assert!(refused.contains("the server speaks another protocol on this port: settings.alpn"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_ends_the_handshake_without_a_word_is_told_with_what_to_look_at() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = server.local_addr().unwrap().port();
    let closing = tokio::spawn(async move {
        while let Ok((mut client, _)) = server.accept().await {
            // What is not read at the end makes the kernel reset the connection, which is another error.
            drop(client.read(&mut [0; 4096]).await);
        }
    });
    let mut line = Line::new().await;
    let publisher = line.publisher(port, json!({})).await;
    set(&line, "use_tls = true").await;
    let webhook = line.webhook(&format!("https://127.0.0.1:{port}/hook"), json!({})).await;
    line.emit("acme", "e", 1).await;

    line.start();
    let reason = line.state(&publisher, "retrying").await;
    line.until(&format!("select exists (select from andon.attempts where lane = '{webhook}')")).await;
    let attempt = line.text("select excerpt from andon.attempts limit 1").await;
    line.stop().await.unwrap();
    closing.abort();

    for said in [reason, attempt] {
        assert!(said.contains("the server ended the connection amid the handshake"), "{said}");
        assert!(said.contains("is this its port for TLS") && said.contains("settings.client_cert_file"), "{said}");
    }
}
