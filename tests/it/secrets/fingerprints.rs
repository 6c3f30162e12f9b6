//! What the database tells of a secret that is sealed. In: a row with a weak secret, and daemons with keys or without. Out: whether the fingerprint
//! of its lane can be made without the key, and what another key means for a destination that is disabled.

use rig::Receiver;
use rig::receiver::Answer;
use serde_json::json;

use crate::secrets::KeyFiles;
use crate::support::line::Line;
use crate::support::line::PATIENCE;

impl Line {
    /// Runs a gateway with these keys until the lane has another fingerprint than this one. Returns the one that it has then.
    async fn other_fingerprint(&mut self, files: &KeyFiles, keys: &[&str], lane: &str, than: &str) -> String {
        self.defaults.keys = files.keys(keys);
        self.start();
        self.until(&format!(
            "select exists (select from andon.lanes where lane = '{lane}' and fingerprint <> '{than}')"
        ))
        .await;
        self.stop().await.unwrap();
        self.text(&format!("select fingerprint from andon.lanes where lane = '{lane}'")).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_weak_secret_cannot_be_guessed_by_the_fingerprint_of_its_row() {
    let files = KeyFiles::new("guessed", &["old", "new"]);
    let receiver = Receiver::start().await.unwrap();
    receiver.answer("/hook", Answer::status(410));
    let mut line = Line::new().await;
    let lane = line.webhook(&receiver.url("/hook"), json!({})).await;
    line.run("update andon.webhooks set name = 'erp'").await;

    // Who has a dump of a time without a key, and the one of today, has the same row and not the same digest.
    let plain = line.other_fingerprint(&files, &[], &lane, "").await;
    let keyed = line.other_fingerprint(&files, &["old"], &lane, &plain).await;
    line.emit("acme", "e", 1).await;
    line.start();
    let reason = line.state(&lane, "disabled").await;
    line.stop().await.unwrap();
    line.emit("acme", "f", 1).await;
    let tried = receiver.received().len();

    // Sealing changes nothing, and neither does a daemon that starts again. Another key in front has it tried once more.
    assert_eq!(files.run(&line.url, "old", &["secrets", "rotate-key"]).status, 0);
    let epoch = line.text("select epoch::text from andon.lanes").await;
    line.start();
    line.until(&format!("select epoch > {epoch} from andon.lanes")).await;
    line.stop().await.unwrap();
    assert_eq!(line.text("select fingerprint from andon.lanes").await, keyed);
    assert_eq!(line.state(&lane, "disabled").await, reason);
    assert_eq!(receiver.received().len(), tried);
    line.defaults.keys = files.keys(&["new", "old"]);
    line.start();
    receiver.requests().wait_for_count(PATIENCE, tried + 1).await.unwrap();
    line.run("delete from andon.webhooks").await;
    line.state(&lane, "removed").await;
    line.stop().await.unwrap();
    assert!(line.client.query_one("select fingerprint is null from andon.lanes", &[]).await.unwrap().get::<_, bool>(0));
}
