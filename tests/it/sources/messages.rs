//! What `andon check` says about a mapping that does not fit: names that exist, and one line where one is enough. In: mappings with faults,
//! and a database. Out: the findings.

use andon::capture::Mapping;
use andon::capture::check;

use crate::command::file;
use crate::command::run_andon;
use crate::support::plant::ERYXON;
use crate::support::plant::Plant;

const TABLES: &str = r#"
    create type "jobStatus" as enum ('Ready', 'In Progress', 'Completed');
    create table job (id int primary key);
    create table "jobOperation" (id int primary key, "companyId" text, "jobId" int, status "jobStatus", "order" int);"#;

/// Returns the findings for an entry about an update of a table, without the file.
async fn findings(plant: &mut Plant, table: &str, entry: &str) -> Vec<String> {
    let text = format!(
        "[source]\nname = 'plant'\n[[capture]]\ntable = '{table}'\non = 'update'\ntype = 'thing.changed'\n{entry}"
    );
    let mapping = Mapping::parse("plant.toml", &text).unwrap();
    let checked = check(&mut plant.client, &mapping).await.unwrap();
    checked.findings.iter().map(|finding| finding.message.clone()).collect()
}

#[tokio::test]
async fn a_name_with_capitals_is_proposed_as_it_has_to_be_written() {
    let mut plant = Plant::empty().await;
    plant.run(TABLES).await;

    for (entry, said) in [
        (
            "tenant = 'this.companyId'",
            "column this.companyid does not exist; write this.\"companyId\": without quotes, capitals are lost",
        ),
        (
            "when = 'companyId is null'",
            "column companyid does not exist; write new.\"companyId\": without quotes, capitals are lost",
        ),
        ("tenant = 'this.company_id'", "column this.company_id does not exist; write this.\"companyId\""),
        ("when = 'new.orders > 1'", "column new.orders does not exist; write new.\"order\""),
        ("when = \"new.statsu = 'Ready'\"", "column new.statsu does not exist; the nearest is status"),
        ("columns = ['companyid']", "column companyid of public.jobOperation does not exist; the nearest is companyId"),
        (
            "columns = ['\"companyId\"']",
            "column \"companyId\" of public.jobOperation does not exist; write companyId without quotes",
        ),
    ] {
        assert_eq!(findings(&mut plant, "jobOperation", entry).await, [said], "{entry}");
    }
    let said = findings(&mut plant, "joboperation", "").await;
    assert_eq!(said, ["table public.joboperation does not exist; the nearest is public.jobOperation"]);
}

#[tokio::test]
async fn a_value_that_no_enumeration_has_is_answered_with_those_that_it_has() {
    let mut plant = Plant::empty().await;
    plant.run(TABLES).await;

    let said = findings(&mut plant, "jobOperation", "when = \"new.status in ('Ready', 'complete')\"").await;
    let unlike = findings(&mut plant, "jobOperation", "data = { x = \"new.status = ''\" }").await;

    let values = "its values are 'Ready', 'In Progress', 'Completed'";
    assert_eq!(said, [format!("'complete' is no value of public.\"jobStatus\"; the nearest is 'Completed'; {values}")]);
    assert_eq!(unlike, [format!("'' is no value of public.\"jobStatus\"; {values}")]);
}

#[tokio::test]
async fn the_wrong_database_is_one_line_and_one_missing_table_is_one_as_well() {
    let plant = Plant::empty().await;
    plant.run(TABLES).await;
    let wrong = run_andon(&plant.url, &["check", "--source", ERYXON]);
    let other = Plant::built().await;
    other.run("alter table cells rename to places").await;
    let one = run_andon(&other.url, &["check", "--source", ERYXON]);

    let faults =
        |out: &str| out.lines().filter(|line| line.starts_with("FAULT")).map(str::to_owned).collect::<Vec<_>>();
    let said = faults(&wrong.out);
    assert!(wrong.status == 1 && said.len() == 1, "{}", wrong.out);
    assert!(
        said[0].contains(" tables are missing (public.")
            && said[0].contains("is this the right database? (connected to "),
        "{said:?}"
    );
    let said = faults(&one.out);
    assert!(one.status == 1 && said.len() == 1, "{}", one.out);
    assert!(said[0].contains("table public.cells does not exist") && said[0].contains("entries name it)"), "{said:?}");
}

#[tokio::test]
async fn a_mapping_of_which_nothing_is_left_is_refused() {
    let plant = Plant::empty().await;
    plant.run(TABLES).await;
    let mapping = file(
        "nothing.toml",
        "[source]\nname = 'plant'\n[[capture]]\ntable = 'orders'\non = 'insert'\ntype = 'order.created'\noptional = true",
    );

    let run = run_andon(&plant.url, &["attach", "--source", &mapping]);

    std::fs::remove_file(mapping).unwrap();
    assert!(run.status == 1 && run.err.contains("every entry is left out"), "{run:?}");
}
