//! The wall between tenants. In: destinations whose rows are given from one tenant to another, while events are parked, retried by hand,
//! replayed, or in the log. Out: whether each event reached only what belonged to its own tenant.

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use rig::Mosquitto;
use rig::MosquittoOptions;
use rig::Receiver;
use rig::Subscriber;
use rig::receiver::Answer;
use serde_json::Value;
use serde_json::json;

use crate::support::line::ALL_DONE;
use crate::support::line::Line;
use crate::support::line::PATIENCE;

/// They differ by what an equality that is not one of bytes would pass over.
const TENANTS: [&str; 7] = ["acme", "bolt", "ACME", "acme ", "acme\u{a0}", "\u{feff}acme", ""];
/// The place after the tenants: a destination for all of them.
const ALL: usize = TENANTS.len();
/// The destinations; each second one is a publisher.
const DESTINATIONS: usize = 4;
/// Makes everything due that is parked, as an operator does.
const RETRY_ALL: &str = "update andon.deliveries set state = 'retry', next_attempt_at = now(), replayed = true; select andon.notify_deliveries()";

#[derive(Debug, Clone)]
enum Step {
    /// An event of a tenant.
    Emit(usize),
    /// A destination is given to a tenant, with the address that stands for it.
    Give(usize, usize),
    /// An endpoint fails from now on, or works again.
    Fail(usize, bool),
    /// A delivery of each destination is dead, as if the destination had refused it.
    Bury,
    RetryAll,
    Replay(usize),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let destination = || 0..DESTINATIONS;
    prop_oneof![
        8 => (0..TENANTS.len()).prop_map(Step::Emit),
        4 => (destination(), 0..=ALL).prop_map(|(destination, tenant)| Step::Give(destination, tenant)),
        4 => (destination(), any::<bool>()).prop_map(|(destination, fails)| Step::Fail(destination, fails)),
        2 => Just(Step::Bury),
        2 => Just(Step::RetryAll),
        2 => destination().prop_map(Step::Replay),
        1 => Just(Step::Restart),
    ]
}

/// Two tenants, their destinations, and who has which now.
struct House {
    line: Line,
    receiver: Receiver,
    subscriber: Subscriber,
    lanes: Vec<String>,
    owners: [usize; DESTINATIONS],
    fails: [bool; DESTINATIONS],
    counter: u64,
}

impl House {
    async fn new(broker: &Mosquitto) -> House {
        let (receiver, subscriber) =
            (Receiver::start().await.unwrap(), Subscriber::start(broker.port()).await.unwrap());
        let mut line = Line::new().await;
        let mut lanes = Vec::new();
        for destination in 0..DESTINATIONS {
            lanes.push(match destination % 2 {
                0 => line.webhook(&receiver.url(&path(destination, 0)), json!({"retry": ["1h", "1h"]})).await,
                _ => line.publisher_of(TENANTS[0], &path(destination, 0)[1..], broker.port(), json!({})).await,
            });
        }
        line.start();
        let (owners, fails) = ([0; DESTINATIONS], [false; DESTINATIONS]);
        House { line, receiver, subscriber, lanes, owners, fails, counter: 0 }
    }

    async fn emit(&mut self, tenant: usize) {
        self.counter += 1;
        let (entity, data) = (format!("e{}", self.counter % 3), json!({"tenant": tenant, "counter": self.counter}));
        let sql = "select andon.emit('job.updated', $1, $2, 'job', $3)";
        self.line.client.execute(sql, &[&data, &TENANTS[tenant], &entity]).await.unwrap();
    }

    /// Gives the row to a tenant, and waits until the lane is the tenant's.
    async fn give(&mut self, destination: usize, tenant: usize) {
        self.owners[destination] = tenant;
        self.set_answer(destination);
        let (name, path) = (TENANTS.get(tenant).copied().unwrap_or("*"), path(destination, tenant));
        let (sql, address) = match destination % 2 {
            0 => (
                "update andon.webhooks set tenant_id = $1, url = $2 where id = $3::text::uuid",
                self.receiver.url(&path),
            ),
            _ => (
                "update andon.mqtt_publishers set tenant_id = $1, topic_pattern = $2 where id = $3::text::uuid",
                path[1..].to_owned(),
            ),
        };
        let lane = &self.lanes[destination];
        let id = lane.split_once('/').unwrap().1;
        self.line.client.execute(sql, &[&name, &address, &id]).await.unwrap();
        let owned =
            format!("select exists (select from andon.lanes where lane = '{lane}' and tenant = e'{}')", escaped(name));
        self.line.until(&owned).await;
    }

    fn set_answer(&self, destination: usize) {
        let status = if self.fails[destination] { 500 } else { 200 };
        self.receiver.answer(&path(destination, self.owners[destination]), Answer::status(status));
    }

    async fn take(&mut self, step: &Step) {
        match *step {
            Step::Emit(tenant) => self.emit(tenant).await,
            Step::Give(destination, tenant) => self.give(destination, tenant).await,
            Step::Fail(destination, fails) => {
                self.fails[destination] = fails;
                self.set_answer(destination);
            }
            Step::Bury => {
                for lane in &self.lanes {
                    let sql = "insert into andon.deliveries
                            (lane, event, event_id, tenant, type, entity_type, entity_id, occurred_at, context, data, state, reason)
                        select $1, id, event_id, e.tenant, type, entity_type, entity_id, occurred_at, context, data, 'dead', 'a test'
                        from andon.events e join andon.lanes l on l.lane = $1 and l.tenant in (e.tenant, '*')
                        order by id desc limit 2 on conflict do nothing";
                    self.line.client.execute(sql, &[&lane]).await.unwrap();
                }
            }
            Step::RetryAll => self.line.run(RETRY_ALL).await,
            Step::Replay(destination) => {
                let sql = "insert into andon.replays (lane, since, until, events, first_id, last_id, total)
                    select $1, '2000-01-01', now(), '{*}', 1, max(id), max(id) from andon.events having max(id) is not null";
                self.line.client.execute(sql, &[&self.lanes[destination]]).await.unwrap();
                self.line.run("select pg_notify('andon', 'destinations')").await;
            }
            Step::Restart => {
                self.line.stop().await.unwrap();
                self.line.start();
            }
        }
    }

    /// All that arrived: to whom it belonged, and whose event it was.
    fn arrived(&self) -> Vec<(usize, usize)> {
        let requests = self.receiver.received();
        let requests = requests.iter().map(|it| (it.path[1..].to_owned(), it.body.to_vec()));
        let messages = self.subscriber.received();
        let messages = messages.iter().filter(|it| it.topic.starts_with("of/"));
        let all = requests.chain(messages.map(|it| (it.topic.clone(), it.payload.to_vec())));
        let read = |(path, body): (String, Vec<u8>)| {
            let body: Value = serde_json::from_slice(&body).unwrap();
            let owner = path.split('/').nth(1).unwrap().parse().unwrap();
            (owner, usize::try_from(body["data"]["tenant"].as_u64().unwrap()).unwrap())
        };
        all.map(read).collect()
    }
}

/// The path or topic of a destination while it belongs to a tenant.
fn path(destination: usize, tenant: usize) -> String {
    format!("/of/{tenant}/{destination}")
}

fn escaped(text: &str) -> String {
    text.chars().map(|letter| format!("\\u{:04x}", u32::from(letter))).collect()
}

/// Whether a row of this tenant can be used at all.
fn is_usable(tenant: usize) -> bool {
    tenant == ALL
        || TENANTS[tenant].trim_matches(|letter: char| letter.is_whitespace() || letter == '\u{feff}')
            == TENANTS[tenant]
}

#[tokio::test(flavor = "multi_thread")]
async fn no_event_crosses_from_one_tenant_to_another() {
    let broker = Mosquitto::start(&MosquittoOptions::default()).unwrap();
    let mut runner = TestRunner::default();
    for _ in 0..3 {
        let steps = prop::collection::vec(step(), 40..80).new_tree(&mut runner).unwrap().current();
        let mut house = House::new(&broker).await;
        for step in &steps {
            house.take(step).await;
        }
        // At the end everything works, and what was parked is tried once more.
        house.fails = [false; DESTINATIONS];
        for destination in 0..DESTINATIONS {
            house.give(destination, [0, 1, ALL, 0][destination]).await;
        }
        house.line.run(RETRY_ALL).await;
        for tenant in 0..TENANTS.len() {
            house.emit(tenant).await;
        }
        house.line.until(ALL_DONE).await;
        house.line.until("select not exists (select from andon.deliveries where state <> 'dead')").await;
        house.line.stop().await.unwrap();

        let arrived = house.arrived();
        let crossed: Vec<_> =
            arrived.iter().filter(|(owner, of)| *owner != ALL && owner != of || !is_usable(*owner)).collect();
        assert!(crossed.is_empty(), "{crossed:?} after {steps:#?}");
        let (acme, bolt) = (arrived.contains(&(0, 0)), arrived.contains(&(1, 1)));
        assert!(
            acme && bolt && (0..ALL).all(|tenant| arrived.contains(&(ALL, tenant))),
            "{arrived:?} after {steps:#?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_parked_for_one_tenant_stays_behind_when_the_row_goes_to_another_and_nothing_waits_for_it() {
    let receiver = Receiver::start().await.unwrap();
    let mut line = Line::new().await;
    let lane = line.webhook(&receiver.url("/acme"), json!({"retry": ["1h"]})).await;
    receiver.answer("/acme", Answer::status(500));
    line.start();
    line.emit("acme", "e1", 1).await;
    line.emit("acme", "e1", 2).await;
    line.until("select count(*) = 2 from andon.deliveries").await;

    line.run(&format!("update andon.webhooks set tenant_id = 'bolt', url = '{}'", receiver.url("/bolt"))).await;
    line.until("select count(*) = 2 from andon.deliveries where state = 'dead'").await;
    line.emit("bolt", "e1", 3).await;
    receiver.wait_accepted(PATIENCE, 1).await.unwrap();
    let reason = "its event belongs to tenant `acme`, and the destination belongs to tenant `bolt` now";
    assert_eq!(line.parked(&lane).await, [format!("dead 1 {reason}"), format!("dead 0 {reason}")]);

    // An operator tries them again; nobody tells the lane of the second time.
    line.run(RETRY_ALL).await;
    line.until("select count(*) = 2 from andon.deliveries where state = 'dead' and replayed").await;
    line.run("update andon.deliveries set state = 'retry', next_attempt_at = now()").await;
    line.emit("bolt", "e1", 4).await;
    receiver.wait_accepted(PATIENCE, 2).await.unwrap();
    line.stop().await.unwrap();
    line.start();
    line.until("select count(*) = 2 from andon.deliveries where state = 'dead'").await;
    line.stop().await.unwrap();

    let arrived = receiver.accepted();
    assert!(
        arrived.iter().all(|it| it.path == "/bolt" && it.body.windows(6).any(|it| it == b"\"bolt\"")),
        "{arrived:?}"
    );
    assert_eq!(arrived.len(), 2);
}
