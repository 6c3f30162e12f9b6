//! The part of the check that looks at the attached sources. In: a connection. Out: whether each mapping still fits the database, whether
//! what is installed is what it wants, and who else could meddle with it. It only reads.

use tokio_postgres::Client;

use crate::capture;
use crate::capture::Inspection;
use crate::capture::Mapping;
use crate::capture::SourceError;
use crate::cli::check::report::CheckReport;
use crate::cli::check::report::Finding;
use crate::cli::check::report::Grade;

/// Checks the attached mappings once more, since the plant may have changed after they were attached.
pub(super) async fn check(client: &mut Client, has_channel_key: bool, report: &mut CheckReport) {
    let sql =
        "select name, mapping, (select quote_ident(rolname) from pg_roles where rolname = attached_by and rolcanlogin)
        from andon.sources order by name";
    let rows = match client.query(sql, &[]).await {
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
            Ok(attached) => {
                if let (Some(owner), false) = (row.get::<_, Option<&str>>(2), attached.captures.is_empty()) {
                    let message = format!(
                        "the capture functions belong to {owner}, which can log in, so that whoever alters what they read acts as it"
                    );
                    let cure = format!(
                        "the DBA runs what `andon grants --role {owner} --for capture` prints, and then attach again"
                    );
                    report.add(Finding::new(Grade::Warning, "source", message).of(&name).cure(cure));
                }
                tell_channels(&name, &attached, has_channel_key, report);
                match capture::inspect(client, &attached).await {
                    Ok(mut inspection) => {
                        if inspection.findings.is_empty() {
                            let strangers = capture::strangers(client, &attached).await;
                            inspection.warnings.extend(strangers.unwrap_or_else(|error| {
                                let error = anyhow::Error::from(error);
                                vec![format!("who owns what it reads and calls cannot be found out: {error:#}")]
                            }));
                        }
                        tell(&name, &inspection, report);
                    }
                    Err(error @ SourceError::NoUsage { .. }) => {
                        report.add(Finding::new(Grade::Warning, "source", error).of(&name));
                    }
                    Err(error) => {
                        report.add(Finding::fault("source", format!("{:#}", anyhow::Error::from(error))).of(&name));
                    }
                }
            }
            Err(problems) => problems.0.iter().for_each(|finding| report.fault("source", finding)),
        }
    }
}

/// Tells whose notifications count. Whoever may connect to a database may notify on any channel of it.
fn tell_channels(name: &str, mapping: &Mapping, has_key: bool, report: &mut CheckReport) {
    for channel in &mapping.channels {
        let shown = &channel.name;
        if channel.is_signed && !has_key {
            let message = format!(
                "channel `{shown}` is signed, and no key is configured, so that none of its notifications becomes an event"
            );
            report.add(Finding::fault("source", message).of(name).cure("set channels.key_file"));
        } else if channel.is_forgeable() {
            let message = format!(
                "channel `{shown}` is forgeable: whoever may connect to this database can notify on it as any tenant"
            );
            let cure = "give it `own_tenant = \"…\"`, or `signed = true` and a key in channels.key_file";
            report.add(Finding::new(Grade::Warning, "source", message).of(name).cure(cure));
        }
    }
}

fn tell(name: &str, inspection: &Inspection, report: &mut CheckReport) {
    let Inspection { findings, left_out, differences, lacking, warnings } = inspection;
    for finding in findings {
        let finding = Finding::fault("source", finding).of(name).shown_as_message();
        report.add(finding.cure("correct the mapping, then run `andon attach --source FILE`"));
    }
    for difference in differences {
        report.add(Finding::fault("source", difference).of(name).cure("run `andon attach --source FILE`"));
    }
    for right in lacking {
        report.add(Finding::fault("source", right).of(name));
    }
    if findings.is_empty() && differences.is_empty() && lacking.is_empty() {
        report.add(Finding::new(Grade::Ok, "source", format!("{name} fits the database")).of(name).shown_as_message());
    }
    for finding in left_out {
        report.add(Finding::new(Grade::Ok, "source", format!("left out: {finding}")).of(name).shown_as_message());
    }
    for warning in warnings {
        report.add(Finding::new(Grade::Warning, "source", warning).of(name));
    }
}
