//! The part of the check that looks at how secrets stand in Andon's own tables. In: the tables, and the keys of the configuration. Out: which
//! secrets stand in plain text, by their names, and which daemons could not open those that are sealed. It shows none of them.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use tokio_postgres::Client;

use crate::cli::check::report::CheckReport;
use crate::cli::check::report::Finding;
use crate::cli::check::report::Grade;
use crate::cli::names::Names;
use crate::config::Config;
use crate::secrets;
use crate::secrets::Held;

/// How many secrets are named.
const NAMED: usize = 20;

pub(super) async fn check(client: &Client, config: &Config, report: &mut CheckReport) {
    // Who may not read the tables is told so where the destinations are read.
    let Ok(held) = secrets::all(client).await else { return };
    for key in held.iter().filter_map(|held| held.key_id()).collect::<BTreeSet<_>>() {
        let Ok(lacking) = secrets::lacking(client, key).await else { return };
        for lacking in lacking {
            let message = format!("values are sealed with key {key}: {lacking}, so that {}", lacking.consequence());
            report.add(Finding::new(Grade::Warning, "secrets", message).cure(lacking.cure()));
        }
    }
    let rows: BTreeMap<String, &str> = held.iter().map(|held| (held.lane(), held.name.as_str())).collect();
    let names = Names::of(rows.into_values());
    let place = |held: &Held| {
        let beside = names.beside(&held.name, &held.tenant, &held.lane());
        format!("{} of `{}`{beside}", held.column, held.name)
    };
    let plain: Vec<String> = held.iter().filter(|held| held.is_plain()).map(place).collect();
    if plain.is_empty() {
        return;
    }
    let more = plain.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let named = plain[..plain.len().min(NAMED)].join(", ");
    let cure = match config.keys.first() {
        Some(_) => "run `andon secrets rotate-key`, which seals them",
        None => {
            "make a key with `andon secrets new-key FILE`, name it in secrets.keys, start the daemons again, and seal them with `andon secrets rotate-key`"
        }
    };
    let message = format!("in plain text in the database: {named}{more}");
    report.add(Finding::new(Grade::Warning, "secrets", message).cure(cure));
}
