//! A webhook that has a name is called by it. In: rows of webhooks with a name and without. Out: what lanes, messages and commands call them.

use rig::Receiver;
use serde_json::json;

use crate::command::run_andon;
use crate::secrets::KeyFiles;
use crate::support::line::Line;
use crate::support::line::PATIENCE;

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_with_a_name_is_called_by_it_and_one_without_by_where_it_is() {
    let receiver = Receiver::start().await.unwrap();
    let mut line = Line::new().await;
    let named = line.webhook(&receiver.url("/erp"), json!({})).await;
    let nameless = line.webhook(&receiver.url("/other"), json!({})).await;
    line.run("update andon.webhooks set name = 'erp' where url like '%/erp'").await;
    line.start();
    line.emit("acme", "e", 1).await;
    receiver.acceptances().wait_for_matching(PATIENCE, 1, |it| it.path == "/erp").await.unwrap();
    receiver.acceptances().wait_for_matching(PATIENCE, 1, |it| it.path == "/other").await.unwrap();

    let replayed = run_andon(&line.url, &["replay", "--destination", "erp", "--since", "1h"]);
    let made_up = receiver.url(&format!("#{}", nameless.split_once('/').unwrap().1));
    let by_address = run_andon(&line.url, &["replay", "--destination", &made_up, "--since", "1h"]);
    let parked = run_andon(&line.url, &["deliveries", "--destination", "erp"]);
    let name = line.client.query_one("select name from andon.lanes where lane = $1", &[&named]).await.unwrap();
    line.run(&format!("update andon.webhooks set name = '  ' where '{named}' like '%' || id")).await;
    line.until(&format!("select name like 'http%' from andon.lanes where lane = '{named}'")).await;
    let address = line.client.query_one("select name from andon.lanes where lane = $1", &[&nameless]).await.unwrap();

    line.stop().await.unwrap();
    assert_eq!((name.get::<_, &str>(0), address.get::<_, String>(0)), ("erp", made_up));
    assert_eq!(
        (replayed.status, by_address.status, parked.status),
        (0, 0, 0),
        "{replayed:?} {by_address:?} {parked:?}"
    );
    let at_erp = receiver.accepted().iter().filter(|it| it.path == "/erp").count();
    assert_eq!(at_erp, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_tenants_webhooks_of_one_name_are_told_apart_and_a_command_takes_what_another_prints() {
    let (line, files) = (Line::new().await, KeyFiles::new("one_name", &["plant"]));
    let lanes = [
        ("acme", line.webhook_of("acme", "https://erp.invalid/", json!({})).await),
        ("bolt", line.webhook_of("bolt", "https://erp.invalid/", json!({})).await),
    ];
    line.run("update andon.webhooks set name = 'erp'").await;
    let nameless = line.webhook("https://quality.invalid/", json!({})).await;
    let address = format!("https://quality.invalid#{}", nameless.split_once('/').unwrap().1);

    let check = run_andon(&line.url, &["check"]);
    let by_name = files.set(&line.url, "plant", &["--webhook", "erp", "secret_key"], "s");
    let by_lane = files.set(&line.url, "plant", &["--webhook", &lanes[0].1, "secret_key"], "s");

    let by_address = files.set(&line.url, "plant", &["--webhook", &address, "secret_key"], "s");

    assert!(check.out.contains(&address) && by_address.status == 0, "{by_address:?} {}", check.out);
    assert_eq!(by_name.status, 2, "{by_name:?}");
    assert_eq!(by_lane.status, 0, "{by_lane:?}");
    for (tenant, lane) in &lanes {
        let (_, id) = lane.split_once('/').unwrap();
        assert!(check.out.contains(&format!(" erp ({lane} of tenant {tenant}): ")), "{}", check.out);
        assert!(check.out.contains(&format!("secret_key of `erp` ({lane} of tenant {tenant})")), "{}", check.out);
        assert!(by_name.err.contains(&format!("\n  {id} of tenant {tenant}\n")), "{by_name:?}");
    }
}
