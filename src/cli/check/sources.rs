//! The part of the check that looks at the attached sources. In: a connection. Out: whether each mapping still fits the database, and whether
//! its captures are installed as they should be. It only reads.

use tokio_postgres::Client;

use crate::capture;
use crate::capture::Mapping;
use crate::cli::check::report::CheckReport;

/// Checks the attached mappings once more, since the tables may have changed after they were attached.
pub(super) async fn check(client: &mut Client, report: &mut CheckReport) {
    let rows = match client.query("select name, mapping from andon.sources order by name", &[]).await {
        Ok(rows) => rows,
        Err(error) => {
            let error = anyhow::Error::from(error);
            return report.fault("source", format!("cannot read andon.sources: {error:#}"));
        }
    };
    if rows.is_empty() {
        report.warning(
            "source",
            "no source is attached; run `andon attach --source FILE`, else only andon.emit() creates events",
        );
    }
    for row in rows {
        let (name, text): (String, String) = (row.get(0), row.get(1));
        match Mapping::parse(&format!("{name} as attached"), &text) {
            Ok(attached) => match capture::check(client, &attached).await {
                Ok(checked) if checked.findings.is_empty() => {
                    report.ok("source", format!("{name} fits the database"));
                    match capture::outdated(client, &attached).await {
                        Ok(tables) => tables.iter().for_each(|table| {
                            report.fault(
                                "source",
                                format!("{name}: the capture of {table} is not as this andon installs it; run `andon attach` again"),
                            );
                        }),
                        Err(error) => report.fault("source", format!("{name}: {:#}", anyhow::Error::from(error))),
                    }
                }
                Ok(checked) => checked.findings.iter().for_each(|finding| report.fault("source", finding)),
                Err(error) => report.fault("source", format!("{name}: {:#}", anyhow::Error::from(error))),
            },
            Err(problems) => problems.0.iter().for_each(|finding| report.fault("source", finding)),
        }
    }
}
