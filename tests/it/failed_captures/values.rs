//! What the record of a failure shows. In: values that no expression of the mapping can take, on a real PostgreSQL. Out: messages that say what is
//! wrong and quote no value of a row, in the table, in the log and on the screen. The values that the mapping names are kept in columns of their own.

use crate::command::run_andon;
use crate::support::daemon;
use crate::support::line::Line;
use crate::support::plant::Plant;

const SCHEMA: &str = "create table job (id int primary key, code text, customer text);
    create type mood as enum ('glad');
    create function approve(customer text) returns text language plpgsql as $$
    begin raise exception 'customer % is not to be served', customer; end $$;";

const MAPPING: &str = r#"
    [source]
    name = "mes"
    [[capture]]
    table = "job"
    on = "insert"
    type = "job.made"
    when = "new.id < 10"
    data = { code = "new.code::int", customer = "new.customer::public.mood" }
    [[capture]]
    table = "job"
    on = "insert"
    type = "job.approved"
    when = "new.id >= 10"
    data = { customer = "public.approve(new.customer)" }"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_message_says_what_is_wrong_and_quotes_no_value_of_the_row() {
    let plant = Plant::with(SCHEMA, MAPPING).await;
    plant
        .run(
            r#"insert into job values (1, 'hunter2 "and 3"', 'glad'); insert into job values (2, '99999999999', 'glad');
            insert into job values (3, '4', 'swordfish'); insert into job values (10, '5', 'swordfish & Co')"#,
        )
        .await;

    let errors = plant.errors().await;
    let line = Line::of(plant);
    let daemon = daemon::start(&line.url).await;
    daemon.ready().await.unwrap();
    let check = run_andon(&line.url, &["check"]);
    let listed = run_andon(&line.url, &["capture", "errors"]);
    let log = daemon.log();
    assert_eq!(daemon.stop().await.unwrap(), 0);

    let said: Vec<(&str, &str)> = errors.iter().map(|(_, _, code, said)| (code.as_str(), said.as_str())).collect();
    assert_eq!(
        said,
        [
            ("22P02", "invalid input syntax for type integer: \"...\""),
            ("22003", "value \"...\" is out of range for type integer"),
            ("22P02", "invalid input value for enum public.mood: \"...\""),
            ("P0001", "customer ... is not to be served"),
        ]
    );
    for (place, shown) in [("check", &check.out), ("list", &listed.out), ("log", &log)] {
        for value in ["hunter2", "99999999999", "swordfish"] {
            assert!(!shown.contains(value), "{place} shows {value}: {shown}");
        }
    }
    assert!(check.out.contains("is not to be served"), "{}", check.out);
}
