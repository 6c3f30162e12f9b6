//! Times without a zone within values of other types. In: mappings that send such values. Out: whether each of them is refused by name,
//! since a receiver elsewhere could not tell what they mean.

use andon::capture::Mapping;

use crate::support::plant::Plant;

#[tokio::test]
async fn times_without_a_zone_within_other_values_are_refused_by_name() {
    let mut plant = Plant::empty().await;
    plant
        .run(
            "create domain shift_start as timestamp;
             create type stay as (machine int, since timestamp);
             create type journey as (label text, stays stay[]);
             create table logs (
                 id int primary key, plain timestamp, aware timestamptz[], spans tstzrange, start shift_start,
                 list timestamp[], span tsrange, spans_local tsmultirange, starts shift_start[], stay stay, journey journey
             )",
        )
        .await;
    let mapping = Mapping::parse(
        "plant.toml",
        "[source]
name = 'plant'
time_zone = 'Europe/Berlin'
[[capture]]
table = 'logs'
on = 'insert'
type = 'log.written'
columns = ['plain', 'aware', 'spans', 'start', 'list', 'span', 'spans_local', 'starts']
data = { stay = 'new.stay', since = '(new.stay).since', first = 'new.list[1]' }
context = { line = 'new.journey' }
",
    )
    .unwrap();

    let findings = andon::capture::check(&mut plant.client, &mapping).await.unwrap().findings;

    let refused: Vec<&str> = findings.iter().map(|finding| finding.field.as_str()).collect();
    let expected =
        ["columns.list", "columns.span", "columns.spans_local", "columns.starts", "data.stay", "context.line"];
    assert_eq!(refused, expected, "{findings:?}");
    assert!(findings[0].message.starts_with("is of type timestamp[], which holds timestamps without a zone"));
}
