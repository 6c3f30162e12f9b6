//! Nobody who reads logs, screens, tables, topics or requests sees a secret. In: a secret of its own in each place that holds one, and a whole run
//! in which everything goes wrong, logged as finely as can be. Out: every place in which one of them is found that must not have it.

use std::ffi::OsString;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rig::Mosquitto;
use rig::MosquittoOptions;
use rig::Receiver;
use rig::ScriptedBroker;
use rig::ScriptedEndpoint;
use rig::Subscriber;
use rig::receiver;
use rig::scripted_broker::Answer;
use rig::scripted_broker::Request;
use rig::scripted_endpoint::Step;
use rig::subscriber::SubscriberOptions;
use serde_json::json;

use super::KeyFiles;
use crate::command::Run;
use crate::command::run_andon_with;
use crate::support::authority::Authority;
use crate::support::daemon::start_with;
use crate::support::line::Line;
use crate::support::line::PATIENCE;

/// What is looked for, and where each was found.
#[derive(Default)]
struct Search {
    secrets: Vec<String>,
    found: Vec<String>,
}

impl Search {
    /// Makes a secret that stands nowhere else.
    fn plant(&mut self, what: &str) -> String {
        let secret = format!("planted-{what}-{:016x}", rand::random::<u64>());
        self.secrets.push(secret.clone());
        secret
    }

    /// Looks for all secrets in a text, as they are and in base64.
    fn look(&mut self, place: &str, text: &str) {
        self.look_for_others(place, text, &[]);
    }

    /// Looks for all but those that belong there.
    fn look_for_others(&mut self, place: &str, text: &str, own: &[&String]) {
        for secret in self.secrets.iter().filter(|secret| !own.contains(secret)) {
            let encoded = STANDARD.encode(secret);
            // The end of the base64 depends on what follows.
            if text.contains(secret.as_str()) || text.contains(&encoded[..encoded.len() - 4]) {
                self.found.push(format!("{secret} in {place}"));
            }
        }
    }
}

/// Reads every table of schema andon, without the columns that hold secrets.
async fn tables(line: &Line) -> Vec<(String, String)> {
    let sql = "select relname::text from pg_class where relnamespace = 'andon'::regnamespace and relkind in ('r', 'p', 'v', 'm') order by 1";
    let mut read = Vec::new();
    for row in line.client.query(sql, &[]).await.unwrap() {
        let table: String = row.get(0);
        let sql = format!(
            "select coalesce(string_agg((to_jsonb(it) - '{{secret_key,previous_secret_key,password,headers,token,oauth_client_secret,oauth_token_url}}'::text[]
                || jsonb_build_object('url', null, 'settings', to_jsonb(it) -> 'settings' #- '{{client_key}}'))::text, ' '), '') from andon.{table} it"
        );
        read.push((table, line.client.query_one(&sql, &[]).await.unwrap().get(0)));
    }
    read
}

/// What webhooks show to their endpoints besides a signature, and the servers that repeat it in all that they answer.
struct Shown {
    servers: Vec<ScriptedEndpoint>,
    /// The names of webhooks, their addresses, and what their rows say.
    webhooks: Vec<(&'static str, String, String)>,
    header: String,
    client: String,
}

impl Shown {
    async fn plant(search: &mut Search) -> Shown {
        let [header, password, token, client, given, address, muddled, signing] =
            ["header", "shown-password", "token", "client", "given", "token-address", "muddled", "signing"]
                .map(|what| search.plant(what));
        // It could be the name of an error.
        let letters = format!("planted_{:016x}", rand::random::<u64>()).replace(|c: char| c.is_ascii_digit(), "x");
        search.secrets.push(letters.clone());
        let pair = |secret: &str| STANDARD.encode(format!("andon:{secret}"));
        let servers = vec![
            repeating("401 Unauthorized", format!("x-api-key: {header}")).await,
            repeating("401 Unauthorized", format!("{password} Basic {}", pair(&password))).await,
            repeating("401 Unauthorized", format!("Bearer {token}")).await,
            repeating("401 Unauthorized", format!("Bearer {given} {client} {address}")).await,
            repeating("200 OK", json!({"access_token": given, "scope": client}).to_string()).await,
            repeating(
                "400 Bad Request",
                json!({"error": letters, "error_description": format!("{letters} {} {address}", pair(&letters))})
                    .to_string(),
            )
            .await,
            // It was never sent, but whoever verifies has it.
            repeating("403 Forbidden", format!("the signature is not of {signing}")).await,
        ];
        let grant = |server: &ScriptedEndpoint, secret: &str| {
            let url = server.url();
            format!(
                "oauth_token_url = '{url}?key={address}', oauth_client_id = 'andon', oauth_client_secret = '{secret}'"
            )
        };
        let webhooks = vec![
            ("headers", servers[0].url(), format!(r#"headers = '{{"X-Api-Key": "{header}"}}'"#)),
            ("basic", servers[1].url(), format!("username = 'andon', password = '{password}'")),
            ("bearer", servers[2].url(), format!("token = '{token}'")),
            ("granted", servers[3].url(), grant(&servers[4], &client)),
            ("not-granted", servers[3].url(), grant(&servers[5], &letters)),
            ("signing", servers[6].url(), format!("secret_key = '{signing}'")),
            (
                "muddled",
                servers[0].url(),
                format!(
                    r#"headers = '{{"{muddled} ": "{muddled}", "X-A": "{muddled}\n"}}', token = E'{muddled}\n', password = '{muddled}'"#
                ),
            ),
        ];
        Shown { servers, webhooks, header, client }
    }
}

/// Brokers that repeat a password, each in another packet.
struct Repeated {
    brokers: Vec<(&'static str, ScriptedBroker)>,
    password: String,
}

impl Repeated {
    async fn plant(search: &mut Search) -> Repeated {
        let password = search.plant("repeated");
        let said = format!("{password} is not {}", STANDARD.encode(format!("andon:{password}")));
        let mut brokers = Vec::new();
        for name in ["connack", "disconnect", "puback", "publish"] {
            let said = said.clone();
            let script = move |request: &Request| match (name, request) {
                // A message in place of a CONNACK is quoted by the library.
                ("publish", Request::Connect { .. }) => {
                    let length = u8::try_from(said.len()).unwrap();
                    Answer::Last([&[0x30, length + 3, 0, length][..], said.as_bytes(), &[0]].concat())
                }
                ("connack", Request::Connect { .. }) => Answer::Last(with_reason(0x20, &[0, 0x86], &said)),
                ("disconnect", Request::Publish { .. }) => Answer::Last(with_reason(0xe0, &[0x89], &said)),
                ("puback", Request::Publish { id, .. }) if request.is_event() => {
                    let [high, low] = id.to_be_bytes();
                    Answer::Bytes(with_reason(0x40, &[high, low, 0x87], &said))
                }
                _ => request.accepted(),
            };
            brokers.push((name, ScriptedBroker::start(script).await.unwrap()));
        }
        Repeated { brokers, password }
    }
}

/// Returns a packet of MQTT 5 with this beginning, and with a reason and another server as its properties.
fn with_reason(kind: u8, start: &[u8], said: &str) -> Vec<u8> {
    let length = u8::try_from(said.len()).unwrap();
    let property = |id: u8| [&[id, 0, length][..], said.as_bytes()].concat();
    let properties = [property(0x1f), property(0x1c)];
    // A PUBACK knows no other server.
    let properties = if kind == 0x40 { properties[0].clone() } else { properties.concat() };
    let varint = |length: usize| [u8::try_from(length % 128).unwrap() | 0x80, u8::try_from(length / 128).unwrap()];
    let body = [start, &varint(properties.len()), &properties].concat();
    [&[kind][..], &varint(body.len()), &body].concat()
}

/// Starts a server whose answer to everything is this one.
async fn repeating(status: &str, body: String) -> ScriptedEndpoint {
    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    ScriptedEndpoint::start(move |_| vec![Step::send(answer.clone())]).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_planted_secret_is_in_any_log_screen_table_topic_or_request() {
    let mut search = Search::default();
    let files = KeyFiles::new("planted", &["plant"]);
    let key_text = std::fs::read_to_string(files.path("plant")).unwrap().trim().to_owned();
    search.secrets.push(key_text);
    let (database, good, previous, login) =
        (search.plant("database"), search.plant("good"), search.plant("previous"), search.plant("login"));
    let (refused, query, broker, wrong, bad) = (
        search.plant("refused"),
        search.plant("query"),
        search.plant("broker"),
        search.plant("wrong"),
        search.plant("bad"),
    );
    let authority = Authority::new();
    let (certificate, private) = authority.sign("andon", 2099);
    // The second line of the key is as good as the whole.
    search.secrets.push(private.lines().nth(1).unwrap().to_owned());
    let users = vec![("andon".to_owned(), broker.clone())];
    let mosquitto = Mosquitto::start(&MosquittoOptions { users, ..MosquittoOptions::default() }).unwrap();
    let credentials = Some(("andon".to_owned(), broker.clone()));
    let subscriber =
        Subscriber::start_with(SubscriberOptions { port: mosquitto.port(), filter: "#".to_owned(), credentials })
            .await
            .unwrap();
    let receiver = Receiver::start().await.unwrap();
    receiver.answer("/401", receiver::Answer::status(401));
    receiver.answer("/410", receiver::Answer::status(410));
    let line = Line::new().await;
    let of = |path: &str| receiver.url(path).replace("://", &format!("://me:{login}@"));
    let bare = "http://127.0.0.1:9/";
    // One without a name is called by its address, of which only scheme, host and port may be shown.
    line.webhook(&format!("http://me:{refused}@127.0.0.1:9/{query}/hook?token={bad}"), json!({"retry": ["1s"]})).await;
    for (name, url, secret, settings) in [
        ("good", of(&format!("/good?token={query}")), &good, json!({})),
        ("unauthorized", of("/401"), &good, json!({"retry": ["1s"]})),
        ("refused", format!("http://me:{refused}@127.0.0.1:9/{query}"), &refused, json!({"retry": ["1s"]})),
        (
            "tls",
            receiver.url("/tls").replace("http:", "https:"),
            &bad,
            json!({"client_cert": certificate, "client_key": private}),
        ),
        ("bad", bare.to_owned(), &format!("whsec_{bad}"), json!({"timeout": "soon", "client_key": private})),
        (
            "worse",
            bare.to_owned(),
            &bad,
            json!({"client_cert": certificate, "client_key": format!("-----BEGIN {bad}")}),
        ),
        ("gone", of("/410"), &good, json!({})),
        ("off", bare.to_owned(), &bad, json!({})),
    ] {
        let lane = line.webhook(&url, settings).await;
        let sql = "update andon.webhooks set name = $1, secret_key = $2, active = $1 <> 'off' where id::text = $3";
        line.client.execute(sql, &[&name, secret, &lane.split_once('/').unwrap().1]).await.unwrap();
    }
    let shown = Shown::plant(&mut search).await;
    for (name, url, columns) in &shown.webhooks {
        line.webhook(url, json!({"retry": ["1s"]})).await;
        line.run(&format!("update andon.webhooks set name = '{name}', {columns} where name is null and url = '{url}'"))
            .await;
    }
    line.run(&format!(
        "update andon.webhooks set previous_secret_key = '{previous}', previous_secret_until = now() + interval '1 hour' where name = 'good'"
    ))
    .await;
    let repeated = Repeated::plant(&mut search).await;
    let repeating = repeated.brokers.iter().map(|(name, broker)| (*name, broker.port(), &repeated.password, false));
    let publishers = [
        ("mqtt-good", mosquitto.port(), &broker, false),
        ("mqtt-wrong", mosquitto.port(), &wrong, false),
        ("mqtt-refused", 9, &wrong, false),
        ("mqtt-tls", mosquitto.port(), &wrong, true),
    ];
    for (name, port, password, tls) in publishers.into_iter().chain(repeating) {
        let lane = line.publisher(port, json!({})).await;
        let sql = "update andon.mqtt_publishers set name = $1, username = 'andon', password = $2, use_tls = $3 where id::text = $4";
        line.client.execute(sql, &[&name, password, &tls, &lane.split_once('/').unwrap().1]).await.unwrap();
    }
    // Half of them are sealed, and one of those was copied from another row.
    assert_eq!(files.set(&line.url, "plant", &["--webhook", "good", "secret_key"], &good).status, 0);
    assert_eq!(files.set(&line.url, "plant", &["--publisher", "mqtt-good", "password"], &broker).status, 0);
    let headers = json!({"X-Api-Key": shown.header}).to_string();
    assert_eq!(files.set(&line.url, "plant", &["--webhook", "headers", "headers"], &headers).status, 0);
    assert_eq!(
        files.set(&line.url, "plant", &["--webhook", "granted", "oauth_client_secret"], &shown.client).status,
        0
    );
    line.run("update andon.webhooks set url = (select secret_key from andon.webhooks where name = 'good') where name = 'worse'").await;

    let url = format!("{}?sslmode=disable", line.url.replace("postgres@", &format!("postgres:{database}@")));
    let variable = |name: &str, value: &str| -> (OsString, OsString) { (name.into(), value.into()) };
    let daemon = start_with(
        &url,
        vec![
            variable("ANDON_LOG", "trace"),
            variable("ANDON_SECRETS_DIRECTORY", files.path("").to_str().unwrap()),
            variable("ANDON_SECRETS_KEYS", "plant"),
        ],
    )
    .await;
    daemon.ready().await.unwrap();
    line.emit_all(3, 3).await;
    receiver.requests().wait_for(PATIENCE, |request| request.path == "/410").await.unwrap();
    receiver
        .acceptances()
        .wait_for(PATIENCE, |it| {
            it.path.starts_with("/good") && it.body.windows(26).any(|part| part == b"andon.destination.disabled")
        })
        .await
        .unwrap();
    subscriber
        .messages()
        .wait_for(PATIENCE, |message| message.topic.ends_with("/andon/destination/disabled"))
        .await
        .unwrap();
    line.until("select count(distinct lane) >= 3 from andon.attempts").await;
    line.until(
        "select count(distinct name) = 6 from andon.attempts join andon.webhooks on lane = 'andon.webhooks/' || webhooks.id
        where name in ('headers', 'basic', 'bearer', 'granted', 'not-granted', 'signing')",
    )
    .await;
    line.until("select count(*) filter (where state = 'retrying' and reason <> '') >= 7 and count(*) filter (where state = 'misconfigured') = 3 and
        count(*) filter (where state = 'disabled') = 1 from andon.lanes").await;

    let mut runs: Vec<(String, Run)> = Vec::new();
    let mut run = |arguments: &[&str]| {
        let variables = [
            ("ANDON_LOG", "trace"),
            ("ANDON_SECRETS_DIRECTORY", files.path("").to_str().unwrap()),
            ("ANDON_SECRETS_KEYS", "plant"),
        ]
        .map(|(name, value)| (name, value.to_owned()));
        let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let run = run_andon_with(&url, arguments, &variables);
        runs.push((arguments.join(" "), run));
    };
    let ids = line
        .client
        .query("select distinct on (lane) id::text from andon.deliveries order by lane, attempts desc", &[])
        .await
        .unwrap();
    for row in &ids {
        run(&["deliveries", "show", row.get(0)]);
    }
    for arguments in [
        vec!["check"],
        vec!["check", "--json"],
        vec!["check", "--canary"],
        vec!["deliveries"],
        vec!["deliveries", "retry", "--destination", "unauthorized"],
        vec!["replay", "--destination", "mqtt-good", "--since", "1h"],
        vec!["replay", "--list"],
        vec!["capture", "errors"],
        vec!["webhooks", "public-key", "good"],
        vec!["webhooks", "public-key", "bad"],
        vec!["webhooks", "rotate-secret", "bad", "--overlap", "1h"],
        vec!["secrets", "rotate-key"],
        vec!["migrate", "--database", &url],
    ] {
        run(&arguments);
    }
    assert_eq!(daemon.stop().await.unwrap(), 0, "{}", daemon.log_tail());

    assert!(shown.servers.iter().all(|server| !server.requests().snapshot().is_empty()));
    let is_tried = |run: &Run| run.out.contains("no token from ");
    assert!(runs.iter().any(|(command, run)| command.starts_with("deliveries show") && is_tried(run)), "{runs:?}");
    let log = daemon.log();
    let words = "select count(*) from andon.lanes where reason like '%…%' and name in ('connack', 'disconnect', 'puback', 'publish')";
    let told: i64 = line.client.query_one(words, &[]).await.unwrap().get(0);
    assert_eq!(told, 4, "each of those brokers is told with what it says");
    // What the library of MQTT logs quotes packets.
    assert!(!log.contains("PubAck Pkid"));
    assert!(log.contains("TRACE") && log.contains("misconfigured") && !ids.is_empty());
    search.look("the daemon's log", &log);
    for (command, Run { out, err, .. }) in &runs {
        search.look(&format!("the screen of `{command}`"), &format!("{out}{err}"));
    }
    for message in subscriber.received() {
        search.look(
            &format!("the topic {}", message.topic),
            &format!("{} {:?} {:?}", message.topic, message.user_properties, message.payload),
        );
    }
    for request in receiver.received() {
        let own: &[&String] = if request.path.starts_with("/good") { &[&query, &login] } else { &[&login] };
        let text = format!("{} {:?} {}", request.path, request.headers, String::from_utf8_lossy(&request.body));
        search.look_for_others(&format!("a request to {}", request.path.split('?').next().unwrap()), &text, own);
    }
    for (table, rows) in tables(&line).await {
        search.look(&format!("table andon.{table}"), &rows);
    }
    search.found.sort();
    search.found.dedup();
    assert!(search.found.is_empty(), "{}", search.found.join("\n"));
}
