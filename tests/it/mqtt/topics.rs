//! Topics from end to end. In: each naming with each policy for missing values. Out: whether the event arrives at a real broker under the
//! topic that they give, or is parked with the reason.

use std::collections::BTreeMap;

use rig::Mosquitto;
use rig::MosquittoOptions;
use rig::Subscriber;
use serde_json::json;

use super::events;
use super::is_event;
use super::wait_for_done;
use crate::support::line::Line;
use crate::support::line::PATIENCE;

#[tokio::test(flavor = "multi_thread")]
async fn each_naming_and_each_policy_has_its_own_topic() {
    let table = [
        ("ascii", "placeholder", Some("mueller_ag/_/saege_2/p_n_42-a__/job/updated")),
        ("ascii", "drop", Some("mueller_ag/saege_2/p_n_42-a__/job/updated")),
        ("ascii", "reject", None),
        ("verbatim", "placeholder", Some("Müller AG/_/Säge_2/P_N 42-A__/job/updated")),
        ("verbatim", "drop", Some("Müller AG/Säge_2/P_N 42-A__/job/updated")),
        ("verbatim", "reject", None),
        ("eryxon", "placeholder", Some("mller_ag/_/sge2/pn_42-a/job/updated")),
        ("eryxon", "drop", Some("mller_ag/sge2/pn_42-a/job/updated")),
        ("eryxon", "reject", None),
    ];
    let broker = Mosquitto::start(&MosquittoOptions::default()).unwrap();
    let subscriber = Subscriber::start(broker.port()).await.unwrap();
    let mut line = Line::new().await;
    let mut lanes = BTreeMap::new();
    for (naming, missing, topic) in table {
        let pattern = format!("{naming}-{missing}/{{enterprise}}/{{site}}/{{cell}}/{{part_number}}/{{event}}");
        let settings = json!({"naming": naming, "missing": missing});
        lanes.insert(line.publisher_of("acme", &pattern, broker.port(), settings).await, (naming, missing, topic));
    }

    line.run(
        r#"insert into andon.events (tenant, type, entity_type, entity_id, context) values ('acme', 'job.updated', 'job', '1',
        '{"enterprise": "Müller AG", "cell": "Säge/2", "part_number": "P/N 42-A+#"}')"#,
    )
    .await;
    line.start();
    for lane in lanes.keys() {
        wait_for_done(&line, lane).await;
    }
    let wanted = table.iter().filter(|(.., topic)| topic.is_some()).count();
    subscriber.messages().wait_for_matching(PATIENCE, wanted, is_event).await.unwrap();

    line.stop().await.unwrap();
    let received = subscriber.received();
    let topics: BTreeMap<_, _> = events(&received).filter_map(|message| message.topic.split_once('/')).collect();
    for (lane, (naming, missing, topic)) in lanes {
        assert_eq!(topics.get(format!("{naming}-{missing}").as_str()).copied(), topic, "{naming} {missing}");
        let parked = line.parked(&lane).await;
        let reason = "dead 1 event has no value for `{site}` and missing is `reject`; supply it, give it a default, or choose another policy";
        assert_eq!(parked, if topic.is_none() { vec![reason] } else { vec![] }, "{naming} {missing}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_in_a_topic_has_the_digits_that_postgresql_gave_it() {
    let broker = Mosquitto::start(&MosquittoOptions::default()).unwrap();
    let subscriber = Subscriber::start(broker.port()).await.unwrap();
    let mut line = Line::new().await;
    let lane = line.publisher_of("acme", "lots/{data.serial}/{cell}", broker.port(), json!({})).await;
    let numbers = ["12345678901234567890", "12345678901234567891", "1.50", "-0.00000000000000000001"];

    for number in numbers {
        line.run(&format!(
            r#"insert into andon.events (tenant, type, entity_type, entity_id, context, data)
            values ('acme', 'lot.made', 'lot', '1', '{{"cell": {number}}}', '{{"serial": {number}}}')"#
        ))
        .await;
    }
    line.start();
    wait_for_done(&line, &lane).await;
    subscriber.messages().wait_for_matching(PATIENCE, numbers.len(), is_event).await.unwrap();

    line.stop().await.unwrap();
    let received = subscriber.received();
    let topics: Vec<_> = events(&received).map(|message| message.topic.as_str()).collect();
    assert_eq!(topics, numbers.map(|number| format!("lots/{number}/{number}")));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_event_passes_for_the_status_of_a_publisher() {
    let broker = Mosquitto::start(&MosquittoOptions::default()).unwrap();
    let subscriber = Subscriber::start(broker.port()).await.unwrap();
    let mut line = Line::new().await;
    let lane = line.publisher_of("acme", "{enterprise}/{site}/{cell}/status", broker.port(), json!({})).await;
    for site in ["test", "chicago", "plant/another"] {
        let context =
            json!({"enterprise": if site == "chicago" { "acme" } else { "andon" }, "site": site, "cell": "publisher"});
        let sql = "insert into andon.events (tenant, type, entity_type, entity_id, context) values ('acme', 'job.updated', 'job', '1', $1)";
        line.client.execute(sql, &[&context]).await.unwrap();
    }
    line.start();
    wait_for_done(&line, &lane).await;
    subscriber.messages().wait_for_matching(PATIENCE, 1, is_event).await.unwrap();

    let reason = |topic: &str| {
        format!("dead 1 `{topic}` is a topic where Andon keeps the status of a publisher; change topic_pattern")
    };
    let parked = line.parked(&lane).await;
    assert_eq!(parked, [reason("andon/test/publisher/status"), reason("andon/plant_another/publisher/status")]);
    line.stop().await.unwrap();
    let received = subscriber.received();
    assert_eq!(events(&received).map(|it| it.topic.as_str()).collect::<Vec<_>>(), ["acme/chicago/publisher/status"]);
}
