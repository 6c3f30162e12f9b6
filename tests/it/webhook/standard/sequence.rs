//! What the sequence proves. In: requests that were answered by failures, silence and restarts, and the rule of README for receivers. Out: that
//! the rule never accuses anybody in vain, and that it finds out whoever answers in the receiver's name.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use rig::receiver::Answer;
use rig::receiver::Received;
use rig::receiver::Receiver;
use serde_json::json;

use crate::support::line::ALL_DONE;
use crate::support::line::Line;
use crate::webhook::header;

/// A receiver that follows README.
#[derive(Default)]
struct Witness {
    /// The numbers of each life whose requests it has seen.
    seen: BTreeMap<u64, BTreeSet<u64>>,
}

impl Witness {
    /// Takes a request in. Returns the numbers of which Andon says that they were answered with a 2xx, and which never came here.
    fn missing(&mut self, request: &Received) -> Vec<u64> {
        let [life, number, acknowledged] = place(request);
        let seen = self.seen.entry(life).or_default();
        seen.insert(number);
        (1..=acknowledged).filter(|number| !seen.contains(number)).collect()
    }
}

fn place(request: &Received) -> [u64; 3] {
    let numbers: Vec<u64> = header(request, "webhook-sequence").split('.').map(|part| part.parse().unwrap()).collect();
    numbers.try_into().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_somebody_else_answered_is_missed_and_nobody_is_accused_in_vain() {
    let receiver = Receiver::start().await.unwrap();
    receiver.answer("/hook", Answer::status(200).after(Duration::from_millis(2)));
    receiver.answer_next("/hook", 4, &Answer::status(503));
    let mut line = Line::new().await;
    let settings = json!({"concurrency": 4, "retry": ["50ms", "50ms", "50ms", "50ms", "50ms"]});
    line.webhook(&receiver.url("/hook"), settings).await;

    line.start();
    line.emit_all(10, 20).await;
    line.until(ALL_DONE).await;
    line.stop().await.unwrap();
    line.start();
    line.emit_more(10, 20, 40).await;
    line.until(ALL_DONE).await;
    line.until("select not exists (select from andon.deliveries)").await;
    line.stop().await.unwrap();

    let received = receiver.received();
    let lives: BTreeSet<u64> = received.iter().map(|request| place(request)[0]).collect();
    assert_eq!(lives.len(), 2, "each start is a life of its own");
    assert!(received.len() >= 404, "some attempts failed");
    let answered: BTreeSet<[u64; 2]> =
        receiver.accepted().iter().map(|it| place(it)).map(|[life, number, _]| [life, number]).collect();
    let mut witness = Witness::default();
    for request in &received {
        let [life, _, acknowledged] = place(request);
        assert!((1..=acknowledged).all(|number| answered.contains(&[life, number])), "{:?}", place(request));
        assert_eq!(witness.missing(request), [0_u64; 0], "{:?}", place(request));
    }
    // Whoever takes one request of the first life for himself is found out before the life is over.
    let first = *lives.first().unwrap();
    let accepted: Vec<Arc<Received>> =
        receiver.accepted().into_iter().filter(|request| place(request)[0] == first).collect();
    for taken in accepted.iter().take(accepted.len() / 2).step_by(17) {
        let number = place(taken)[1];
        let others = received.iter().filter(|request| place(request)[..2] != [first, number]);
        let mut witness = Witness::default();
        let missed: BTreeSet<u64> =
            others.filter(|request| place(request)[0] == first).flat_map(|request| witness.missing(request)).collect();
        assert_eq!(missed, BTreeSet::from([number]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_has_no_place_in_the_sequence() {
    let receiver = Receiver::start().await.unwrap();
    let mut line = Line::new().await;
    let lane = line.webhook(&receiver.url("/hook"), json!({})).await;
    line.start();
    line.emit_all(1, 3).await;
    line.until(ALL_DONE).await;

    let replay = crate::command::run_andon(&line.url, &["replay", "--destination", &lane, "--since", "1h"]);
    line.stop().await.unwrap();

    assert_eq!(replay.status, 0, "{replay:?}");
    let (replayed, live): (Vec<_>, Vec<_>) =
        receiver.received().into_iter().partition(|request| request.headers.contains_key("andon-replayed"));
    assert!(replayed.len() == 3 && live.len() == 3);
    for name in ["webhook-sequence", "webhook-sequence-signature"] {
        assert!(replayed.iter().all(|request| !request.headers.contains_key(name)), "{name}");
        assert!(live.iter().all(|request| request.headers.contains_key(name)), "{name}");
    }
}
