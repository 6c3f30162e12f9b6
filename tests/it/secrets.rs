//! Secrets at rest. In: destinations whose secrets are sealed by commands, and daemons that have the keys, or have not. Out: whether they sign
//! and log in as before, whether the tables hold nothing in plain text, and whether a value opens only where it was sealed.

mod fingerprints;
mod held_by_daemons;
mod in_the_open;
mod planted;

use std::fs::Permissions;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;

use andon::destination::sealed;
use andon::sealing::Key;
use andon::sealing::Keys;
use andon::secrets;
use rig::Mosquitto;
use rig::MosquittoOptions;
use rig::Receiver;
use rig::signature::Signature;
use serde_json::json;

use crate::command::Run;
use crate::command::run_andon;
use crate::command::run_andon_with;
use crate::support::line::Line;
use crate::support::line::PATIENCE;
use crate::support::line::SECRET;
use crate::support::plant::connect;
use crate::support::role;

/// A directory with key files, which is removed in the end.
pub(crate) struct KeyFiles(PathBuf);

impl KeyFiles {
    /// Makes a key of each name with the command that people use.
    pub(crate) fn new(test: &str, names: &[&str]) -> KeyFiles {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{test}-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        for name in names {
            let made = run_andon("", &["secrets", "new-key", directory.join(name).to_str().unwrap()]);
            assert_eq!(made.status, 0, "{made:?}");
        }
        KeyFiles(directory)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Returns the keys, the first of which seals.
    pub(crate) fn keys(&self, names: &[&str]) -> Keys {
        let key =
            |name: &&str| ((*name).to_owned(), Key::parse(&std::fs::read_to_string(self.path(name)).unwrap()).unwrap());
        Keys::new(names.iter().map(key).collect())
    }

    /// Runs a command with these keys.
    pub(crate) fn run(&self, url: &str, names: &str, arguments: &[&str]) -> Run {
        let variables = [("ANDON_SECRETS_DIRECTORY", self.0.to_str().unwrap()), ("ANDON_SECRETS_KEYS", names)];
        run_andon_with(url, arguments, &variables)
    }

    /// Sets a secret, which the command reads from its standard input.
    pub(crate) fn set(&self, url: &str, names: &str, arguments: &[&str], secret: &str) -> Run {
        let mut command = Command::new(env!("CARGO_BIN_EXE_andon"));
        command.env_clear().env("DATABASE_URL", url).current_dir(std::env::temp_dir());
        command.env("ANDON_SECRETS_DIRECTORY", &self.0).env("ANDON_SECRETS_KEYS", names);
        command.args(["secrets", "set"]).args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // A command that refuses its arguments does not read.
        drop(child.stdin.take().unwrap().write_all(secret.as_bytes()));
        let output = child.wait_with_output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Run { status: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
    }
}

impl Drop for KeyFiles {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// What stands in the columns of secrets.
const STORED: &str = "select string_agg(text, ' ') from (
    select secret_key from andon.webhooks union all select url from andon.webhooks
    union all select password from andon.mqtt_publishers union all select settings::text from andon.mqtt_publishers) it (text)";

async fn stored(line: &Line) -> String {
    line.client.query_one(STORED, &[]).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn sealed_secrets_sign_and_log_in_and_the_database_holds_none_of_them() {
    let files = KeyFiles::new("sealed", &["plant"]);
    let receiver = Receiver::start().await.unwrap();
    receiver.expect_signature("/hook", "blanks at the end  ");
    let users = vec![("andon".to_owned(), "hunter2".to_owned())];
    let broker = Mosquitto::start(&MosquittoOptions { users, ..MosquittoOptions::default() }).unwrap();
    let mut line = Line::new().await;
    let (webhook, publisher) =
        (line.webhook("http://x", json!({})).await, line.publisher(broker.port(), json!({})).await);
    line.run("update andon.webhooks set name = 'erp', secret_key = null; update andon.mqtt_publishers set username = 'andon'").await;
    let address = receiver.url("/hook").replace("://", "://me:swordfish@");

    let runs = [
        files.set(&line.url, "plant", &["--webhook", "erp", "secret_key"], "blanks at the end  \n"),
        files.set(&line.url, "plant", &["--webhook", webhook.split_once('/').unwrap().1, "url"], &address),
        files.set(&line.url, "plant", &["--publisher", "plant", "password"], "hunter2\r\n"),
    ];
    line.defaults.keys = files.keys(&["plant"]);
    line.start();
    line.emit("acme", "e", 1).await;
    receiver.wait_accepted(PATIENCE, 1).await.unwrap();
    line.until(&format!("select state = 'running' and position > 0 from andon.lanes where lane = '{publisher}'")).await;
    line.stop().await.unwrap();

    for run in &runs {
        assert!(run.status == 0 && run.out.starts_with("sealed "), "{run:?}");
    }
    let request = &receiver.accepted()[0];
    assert_eq!(request.signature, Signature::Valid);
    assert!(request.headers.contains_key("authorization"), "{request:?}");
    let stored = stored(&line).await;
    for secret in ["blanks", "swordfish", "hunter2"] {
        assert!(!stored.contains(secret), "{secret} is in {stored}");
    }
    assert_eq!(stored.matches("sealed:v1:").count(), 3, "{stored}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_rotated_while_lanes_run_and_none_of_them_restarts() {
    let files = KeyFiles::new("rotated", &["old", "new"]);
    let receiver = Receiver::start().await.unwrap();
    receiver.expect_signature("/hook", SECRET);
    let (ca, key) = ("-----BEGIN CERTIFICATE-----", "-----BEGIN PRIVATE KEY-----\n\"ü\t\u{7f}\u{1}\n-----END");
    let mut line = Line::new().await;
    line.webhook(&receiver.url("/hook"), json!({"paused": false})).await;
    // A lane that is misconfigured has a fingerprint as well; its key has letters that JSON writes in more than one way.
    line.webhook("http://127.0.0.1:9/", json!({"client_cert": ca, "client_key": key, "paused": true})).await;
    line.defaults.keys = files.keys(&["new", "old"]);
    line.start();
    line.emit("acme", "e", 1).await;
    receiver.wait_accepted(PATIENCE, 1).await.unwrap();
    line.until("select count(*) = 2 from andon.lanes where daemon is not null").await;
    let lanes = "select string_agg(lane || epoch || fingerprint, ' ' order by lane) from andon.lanes";
    let before: String = line.client.query_one(lanes, &[]).await.unwrap().get(0);

    let plain = files.run(&line.url, "old", &["secrets", "rotate-key"]);
    let old = stored(&line).await;
    let rotated = files.run(&line.url, "new,old", &["secrets", "rotate-key"]);
    let new = stored(&line).await;
    let again = files.run(&line.url, "new", &["secrets", "rotate-key"]);
    // The daemon looks at the tables for each of the changes, and has done so when a new destination has its lane.
    let late = line.webhook(&receiver.url("/hook"), json!({})).await;
    line.state(&late, "running").await;
    line.emit("acme", "e", 2).await;
    receiver.wait_accepted(PATIENCE, 3).await.unwrap();
    let after = format!("{lanes} where lane <> '{late}'");
    let after: String = line.client.query_one(&after, &[]).await.unwrap().get(0);
    line.stop().await.unwrap();

    assert_eq!(before, after);
    assert!(plain.out.contains(": 3 from plain text, 0 from other keys"), "{plain:?}");
    assert!(rotated.out.contains(": 0 from plain text, 3 from other keys"), "{rotated:?}");
    assert!(again.status == 0 && again.out.contains(": 0 from plain text, 0 from other keys"), "{again:?}");
    assert!(old != new && !old.contains("PRIVATE KEY") && !new.contains(SECRET), "{new}");
    assert!(receiver.accepted().iter().all(|request| request.signature == Signature::Valid));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_does_not_open_is_its_own_rows_trouble_and_says_what_to_do() {
    let files = KeyFiles::new("copied", &["plant", "other"]);
    let receiver = Receiver::start().await.unwrap();
    let mut line = Line::new().await;
    let mut lanes = Vec::new();
    for name in ["good", "copied", "moved", "foreign", "later"] {
        let lane = line.webhook(&receiver.url("/hook"), json!({})).await;
        line.run(&format!(
            "update andon.webhooks set name = '{name}' where id = '{}'",
            lane.split_once('/').unwrap().1
        ))
        .await;
        lanes.push(lane);
    }
    assert_eq!(files.run(&line.url, "plant", &["secrets", "rotate-key"]).status, 0);
    assert_eq!(files.set(&line.url, "other", &["--webhook", "foreign", "secret_key"], "x").status, 0);
    line.run(
        "update andon.webhooks set secret_key = (select secret_key from andon.webhooks where name = 'good') where name = 'copied';
        update andon.webhooks set url = secret_key where name = 'moved';
        update andon.webhooks set secret_key = 'sealed:v2:x' where name = 'later'",
    )
    .await;

    line.defaults.keys = files.keys(&["plant"]);
    line.start();
    line.emit("acme", "e", 1).await;
    receiver.wait_accepted(PATIENCE, 1).await.unwrap();
    let mut reasons = Vec::new();
    for lane in &lanes[1..] {
        reasons.push(line.state(lane, "misconfigured").await);
    }
    let check = files.run(&line.url, "plant", &["check"]);
    let rotate = files.run(&line.url, "plant", &["secrets", "rotate-key"]);
    line.stop().await.unwrap();

    let set = "set it again with `andon secrets set`";
    let other = files.keys(&["other"]);
    let foreign = format!("{other:?}");
    assert!(foreign.contains("other"));
    assert_eq!(
        reasons[0],
        format!(
            "webhook `copied`: secret_key does not open: it was changed, or copied here from another row or column; {set}"
        )
    );
    assert_eq!(
        reasons[1],
        format!("webhook `moved`: url does not open: it was changed, or copied here from another row or column; {set}")
    );
    assert!(
        reasons[2].contains("secret_key is sealed with key ")
            && reasons[2].contains("which the configuration does not name"),
        "{}",
        reasons[2]
    );
    assert!(reasons[3].contains("nothing that this version of Andon sealed"), "{}", reasons[3]);
    assert_eq!(check.status, 1);
    for reason in &reasons {
        assert!(check.out.contains(reason), "{reason} is not in {}", check.out);
    }
    assert!(rotate.status == 1 && rotate.err.lines().count() == 4, "{rotate:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_that_comes_while_a_value_is_being_sealed_stays() {
    let files = KeyFiles::new("edited", &["plant"]);
    let keys = files.keys(&["plant"]);
    let line = Line::new().await;
    line.webhook("http://127.0.0.1:9/", json!({})).await;
    let editor = connect(&line.url).await;
    let sealer = connect(&line.url).await;
    editor.batch_execute("begin; update andon.webhooks set secret_key = 'the new one'").await.unwrap();

    let (done, ()) = tokio::join!(secrets::seal_all(&sealer, &keys), async {
        line.until("select exists (select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock')").await;
        editor.batch_execute("commit").await.unwrap();
    });

    let done = done.unwrap();
    let row = line.client.query_one("select id::text, secret_key from andon.webhooks", &[]).await.unwrap();
    let place = andon::sealing::Place { table: "andon.webhooks", row: row.get(0), column: "secret_key" };
    assert_eq!(keys.open(row.get(1), place).unwrap().expose(), "the new one");
    assert!(done.from_plain == 1 && !done.is_unfinished, "{done:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_check_names_what_stands_in_plain_text_and_a_key_that_others_may_read_is_refused() {
    let files = KeyFiles::new("plain", &["plant"]);
    let line = Line::new().await;
    line.webhook("http://u:swordfish@127.0.0.1:9/", json!({})).await;
    line.publisher(1, json!({})).await;
    line.run(
        "update andon.webhooks set name = 'erp'; update andon.mqtt_publishers set password = 'hunter2', active = false",
    )
    .await;

    let unkeyed = run_andon(&line.url, &["check"]);
    let keyed = files.run(&line.url, "plant", &["check"]);
    let refused = run_andon(&line.url, &["secrets", "rotate-key"]);
    let no_secret = files.set(&line.url, "plant", &["--webhook", "erp", "events"], "x");
    let nobody = files.set(&line.url, "plant", &["--webhook", "erb", "secret_key"], "x");
    let empty = files.set(&line.url, "plant", &["--webhook", "erp", "secret_key"], " \n");
    let again = run_andon("", &["secrets", "new-key", files.path("plant").to_str().unwrap()]);
    let mode = std::fs::metadata(files.path("plant")).unwrap().permissions().mode();
    assert_eq!(files.run(&line.url, "plant", &["secrets", "rotate-key"]).status, 0);
    let sealed = files.run(&line.url, "plant", &["check"]);
    std::fs::set_permissions(files.path("plant"), Permissions::from_mode(0o644)).unwrap();
    let open = files.run(&line.url, "plant", &["run"]);

    let named = "warning secrets         in plain text in the database: secret_key of `erp`, url of `erp`, password of `plant`; ";
    assert!(unkeyed.out.contains(&format!("{named}make a key with `andon secrets new-key FILE`")), "{}", unkeyed.out);
    assert!(keyed.out.contains(&format!("{named}run `andon secrets rotate-key`")), "{}", keyed.out);
    assert!(!sealed.out.contains("in plain text"), "{}", sealed.out);
    assert!(refused.status == 2 && refused.err.contains("names no key in secrets.keys"), "{refused:?}");
    assert!(
        no_secret.status == 2 && no_secret.err.contains("its secrets are secret_key, previous_secret_key, url"),
        "{no_secret:?}"
    );
    assert!(nobody.status == 2 && nobody.err.contains("no row of andon.webhooks is called `erb`"), "{nobody:?}");
    assert!(empty.status == 2 && empty.err.contains("the secret is empty"), "{empty:?}");
    assert!(again.status == 1 && mode & 0o777 == 0o600, "{again:?} {mode:o}");
    assert!(open.status == 2 && open.err.contains("is open to others on this host; run `chmod 600 "), "{open:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_webhook_shows_to_its_endpoint_can_be_sealed_and_is_sent_as_before() {
    let files = KeyFiles::new("credentials", &["old", "new"]);
    let (receiver, address) = (Receiver::start().await.unwrap(), "http://andon:sw0rd@127.0.0.1:9/sw0rd");
    let mut line = Line::new().await;
    for name in ["basic", "bearer", "granted", "copied"] {
        line.webhook(&receiver.url(&format!("/{name}")), json!({})).await;
    }
    line.run(&format!(
        r#"update andon.webhooks set name = substring(url from '[a-z]*$'), secret_key = '';
        update andon.webhooks set headers = '{{"X-Api-Key": "sw0rd"}}', username = 'andon', password = 'sw0rd' where name = 'basic';
        update andon.webhooks set token = 'sw0rd' where name = 'bearer';
        update andon.webhooks set oauth_token_url = '{address}', oauth_client_id = 'andon', oauth_client_secret = 'sw0rd' where name = 'granted'"#
    ))
    .await;

    let before = files.run(&line.url, "old", &["check"]);
    let all = files.run(&line.url, "old", &["secrets", "rotate-key"]);
    for column in sealed::COLUMNS.into_iter().chain(sealed::SETTINGS) {
        let set = files.set(&line.url, "old", &["--webhook", "copied", column], "sw0rd");
        assert_eq!(set.status, 0, "{column}: {set:?}");
    }
    let rotated = files.run(&line.url, "new,old", &["secrets", "rotate-key"]);
    let stored = "select string_agg(to_jsonb(it)::text, ' ') from andon.webhooks it";
    let stored: String = line.client.query_one(stored, &[]).await.unwrap().get(0);
    line.run(&format!(
        "update andon.webhooks set secret_key = '{SECRET}' where name <> 'copied';
        update andon.webhooks it set headers = from_row.headers, token = from_row.password, password = from_row.headers,
            oauth_client_secret = from_row.headers, oauth_token_url = from_row.headers from andon.webhooks from_row
        where it.name = 'copied' and from_row.name = 'basic'"
    ))
    .await;
    let after = files.run(&line.url, "new", &["check"]);
    line.defaults.keys = files.keys(&["new"]);
    line.start();
    line.emit("acme", "e", 1).await;
    receiver.wait_accepted(PATIENCE, 2).await.unwrap();
    line.stop().await.unwrap();

    let named = "headers of `basic`, password of `basic`, token of `bearer`, oauth_client_secret of `granted`, oauth_token_url of `granted`; run";
    assert!(before.out.contains(named), "{}", before.out);
    assert!(all.out.contains(": 5 from plain text, 0 from other keys"), "{all:?}");
    assert!(rotated.out.contains(": 0 from plain text, 14 from other keys"), "{rotated:?}");
    assert!(!stored.contains("sw0rd") && stored.matches("sealed:v1:").count() == 14, "{stored}");
    for column in ["headers", "password", "token", "oauth_client_secret", "oauth_token_url"] {
        assert!(after.out.contains(&format!("{column} does not open")), "{column} is not in {}", after.out);
    }
    let accepted = receiver.accepted();
    let got = |path: &str, name: &str| accepted.iter().find(|it| it.path == path).unwrap().headers[name].clone();
    assert_eq!(
        (got("/basic", "x-api-key"), got("/bearer", "authorization")),
        ("sw0rd".parse().unwrap(), "Bearer sw0rd".parse().unwrap())
    );
    assert_eq!(got("/basic", "authorization"), "Basic YW5kb246c3cwcmQ=");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_systems_own_table_says_is_taken_as_it_is() {
    let receiver = Receiver::start().await.unwrap();
    receiver.expect_signature("/hook", "sealed:v1:is how this system begins its secrets");
    let mut line = Line::new().await;
    line.run(&format!(
        "create schema plant; create table plant.webhooks (like andon.webhooks including defaults);
        insert into plant.webhooks (url, secret_key, events, settings)
            values ('{}', 'sealed:v1:is how this system begins its secrets', '{{*}}', '{{\"start_at\": \"2000-01-01T00:00:00Z\"}}');
        insert into andon.sources (name, profile, mapping, webhooks) values ('plant', 'andon', '', 'plant.webhooks')",
        receiver.url("/hook")
    ))
    .await;
    role::grant(&line.client).await;

    line.start();
    line.run("select andon.emit('job.updated', '{}')").await;
    receiver.wait_accepted(PATIENCE, 1).await.unwrap();
    line.stop().await.unwrap();

    assert_eq!(receiver.accepted()[0].signature, Signature::Valid);
}
