//! What each setting is pinned to. In: a session. Out: the values, some of which are the defaults of its database. It only reads.

use std::collections::BTreeMap;
use std::collections::HashMap;

use tokio_postgres::Error;
use tokio_postgres::Transaction;

use crate::capture::sql::settings::Setting;

/// Returns what each setting is pinned to.
pub(super) async fn values(transaction: &Transaction<'_>) -> Result<BTreeMap<Setting, String>, Error> {
    let names: Vec<&str> = Setting::ALL.into_iter().map(Setting::name).collect();
    // What a session has set does not count.
    let sql = "select name, reset_val from pg_settings where name = any ($1)";
    let defaults: HashMap<String, String> =
        transaction.query(sql, &[&names]).await?.iter().map(|row| (row.get(0), row.get(1))).collect();
    let value = |setting: Setting| setting.value(defaults.get(setting.name()).map_or("", String::as_str));
    Ok(Setting::ALL.into_iter().map(|setting| (setting, value(setting))).collect())
}
