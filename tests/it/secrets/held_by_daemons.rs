//! Keys that daemons hold, and keys that they do not. In: a daemon with the old key, and commands with the new one. Out: whether anything is
//! sealed that the daemon could not open, and which addresses are sealed at all.

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
            run.err
                .contains("daemon `test` does not hold it; name the key in secrets.keys there, start the daemon again"),
            "{run:?}"
        );
    }
    let unknown = "daemon `elder` of version 0.0 does not say whether it holds it";
    assert!(elder.status == 1 && elder.err.contains(unknown), "{elder:?}");
    assert!(check.out.contains(unknown), "{}", check.out);
    assert!(rotated.status == 0 && rotated.out.contains("1 from other keys"), "{rotated:?}");
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
