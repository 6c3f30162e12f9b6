//! The daemon watches what is attached. In: a daemon, and a plant that changes under it. Out: whether what it finds stands in `andon.sources`
//! and in its log, and goes away again.

use std::time::Duration;

use andon::capture::watch::look;

use crate::support::plant::Plant;
use crate::support::plant::eryxon;

async fn state(plant: &Plant) -> (String, Option<String>) {
    let row = plant.client.query_one("select state, reason from andon.sources", &[]).await.unwrap();
    (row.get(0), row.get(1))
}

#[tokio::test]
async fn a_look_keeps_what_it_found_until_it_is_mended() {
    let mut plant = Plant::attached().await;
    assert_eq!(state(&plant).await, ("attached".to_owned(), None));
    plant.run("alter table jobs disable trigger all; alter table parts rename column part_number to number").await;

    let early = look(&mut plant.client, Duration::from_secs(300)).await.unwrap();
    let due = look(&mut plant.client, Duration::ZERO).await.unwrap();
    let (differs, reason) = state(&plant).await;
    plant.run("alter table parts rename column number to part_number").await;
    look(&mut plant.client, Duration::ZERO).await.unwrap();
    let (still, disabled) = state(&plant).await;
    andon::capture::attach(&mut plant.client, &eryxon()).await.unwrap();

    assert_eq!(early[0].difference, None, "it was looked at when it was attached");
    assert_eq!((differs.as_str(), &reason), ("differs", &due[0].difference));
    assert!(reason.as_ref().unwrap().contains("part_number does not exist"), "{reason:?}");
    assert!(still == "differs" && disabled.as_ref().unwrap().contains("on public.jobs is disabled"), "{disabled:?}");
    assert_eq!(state(&plant).await, ("attached".to_owned(), None));
}
