//! Keys that daemons hold, and keys that they do not. In: daemons with different keys, and commands with a new one. Out: whether anything is
//! sealed that a daemon could not open, which daemon serves what is sealed, and which addresses are sealed at all.

use rig::Receiver;
use serde_json::json;

use crate::secrets::KeyFiles;
use crate::support::line::Line;
use crate::support::line::PATIENCE;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sealed_with_a_key_that_a_living_daemon_does_not_hold() {
    let files = KeyFiles::new("held", &["old", "new"]);
    let receiver = Receiver::start().await.unwrap();
    let mut line = Line::new().await;
    let lane = line.webhook(&receiver.url("/hook"), json!({})).await;
    line.run("update andon.webhooks set name = 'erp'").await;
    assert_eq!(files.run(&line.url, "old", &["secrets", "rotate-key"]).status, 0, "nobody runs who could lack the key");
    line.defaults.keys = files.keys(&["old"]);
    line.start();
    line.state(&lane, "running").await;

    let refused = [
        files.run(&line.url, "new,old", &["secrets", "rotate-key"]),
        files.set(&line.url, "new,old", &["--webhook", "erp", "secret_key"], "x"),
        files.run(&line.url, "new,old", &["webhooks", "rotate-secret", "erp", "--overlap", "1h"]),
    ];
    line.emit("acme", "e", 1).await;
    receiver.wait_accepted(PATIENCE, 1).await.unwrap();
    line.stop().await.unwrap();
    line.run("insert into andon.daemons (daemon, name, version, lease_until) values (gen_random_uuid(), 'elder', '0.0', clock_timestamp() + interval '1 hour')").await;
    let elder = files.run(&line.url, "new,old", &["secrets", "rotate-key"]);
    let check = files.run(&line.url, "old", &["check"]);
    line.run("delete from andon.daemons").await;
    let rotated = files.run(&line.url, "new,old", &["secrets", "rotate-key"]);

    for run in &refused {
        assert_eq!(run.status, 1, "{run:?}");
        assert!(run.err.contains("nothing is sealed with key `new` (") && run.out.is_empty(), "{run:?}");
        assert!(
            run.err.contains(
                "daemon `test` does not hold it: name the key in secrets.keys there, and start the daemon again"
            ),
            "{run:?}"
        );
    }
    let unknown = "daemon `elder` runs an older program (0.0), which does not say whether it holds it";
    assert!(elder.status == 1 && elder.err.contains(unknown), "{elder:?}");
    assert!(
        check.out.contains(&format!("{unknown}, so that it may serve their rows or not; start this program there")),
        "{}",
        check.out
    );
    assert!(rotated.status == 0 && rotated.out.contains("1 from other keys"), "{rotated:?}");
}

/// Waits until these lanes are in a state at the daemon with keys, or at the one without.
async fn all_are(line: &Line, lanes: &[String], state: &str, has_keys: bool) {
    let (count, lanes) = (lanes.len(), lanes.join("', '"));
    line.until(&format!(
        "select count(*) = {count} from andon.lanes join andon.daemons using (daemon)
        where lane in ('{lanes}') and state = '{state}' and (cardinality(keys) > 0) = {has_keys}"
    ))
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sealed_row_is_served_by_the_daemon_that_holds_its_key_and_the_other_evens_out_the_rest() {
    let files = KeyFiles::new("divided", &["plant"]);
    let receiver = Receiver::start().await.unwrap();
    let mut without = Line::new().await;
    let mut sealed = Vec::new();
    for path in ["/0", "/1", "/2"] {
        sealed.push(without.webhook(&receiver.url(path), json!({})).await);
    }
    assert_eq!(files.run(&without.url, "plant", &["secrets", "rotate-key"]).status, 0);
    without.start();
    all_are(&without, &sealed, "misconfigured", false).await;

    // The daemon with the key comes, and takes them all.
    let mut with = Line::at(&without.url).await;
    with.defaults.keys = files.keys(&["plant"]);
    with.start();
    all_are(&with, &sealed, "running", true).await;
    with.emit("acme", "e", 1).await;
    receiver.wait_accepted(PATIENCE, 3).await.unwrap();
    let mut plain = Vec::new();
    for path in ["/3", "/4"] {
        plain.push(with.webhook(&receiver.url(path), json!({})).await);
    }
    all_are(&with, &plain, "running", false).await;
    let epochs = "select string_agg(epoch::text, ' ' order by lane) from andon.lanes";
    let (before, reading) = (with.text(epochs).await, with.webhook(&receiver.url("/5"), json!({})).await);
    all_are(&with, &[reading], "running", false).await;
    assert!(with.text(epochs).await.split(' ').filter(|epoch| before.contains(*epoch)).count() == 5, "none has moved");

    // It goes, and comes again.
    with.stop().await.unwrap();
    all_are(&with, &sealed, "misconfigured", false).await;
    with.emit("acme", "e", 2).await;
    with.start();
    all_are(&with, &sealed, "running", true).await;
    receiver.wait_accepted(PATIENCE, 3 + 3 + 6).await.unwrap();
    with.stop().await.unwrap();
    without.stop().await.unwrap();
}

#[tokio::test]
async fn an_address_is_sealed_if_a_user_or_a_query_stands_in_it() {
    let files = KeyFiles::new("addresses", &["plant"]);
    let line = Line::new().await;
    for url in ["https://t0ken@h/x", "https://u:pass@h/x", "https:t0ken@h/x", "https://h/x?key=t0ken", "https://h/x"] {
        line.webhook(url, json!({})).await;
    }
    line.run("update andon.webhooks set secret_key = '', oauth_token_url = url").await;

    let check = files.run(&line.url, "plant", &["check"]);
    let rotated = files.run(&line.url, "plant", &["secrets", "rotate-key"]);

    assert_eq!(check.out.matches("oauth_token_url of").count(), 4, "{}", check.out);
    assert!(rotated.out.contains(": 8 from plain text"), "{rotated:?}");
    let plain = "select string_agg(url || oauth_token_url, ' ') from andon.webhooks where url not like 'sealed:%'";
    let plain: String = line.client.query_one(plain, &[]).await.unwrap().get(0);
    assert_eq!(plain, "https://h/xhttps://h/x");
}
