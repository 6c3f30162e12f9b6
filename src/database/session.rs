//! What every session of Andon sets for itself. In: a session as the defaults of the server, the database and the role have made it. Out: a
//! session in which none of them can end it, hide rows from it, or change what its statements mean. The settings are made by statements and
//! not at the start of the connection, because a pooler refuses start-up parameters that it does not know.

use tokio_postgres::Client;
use tokio_postgres::Error;
use tokio_postgres::SimpleQueryMessage;
use tokio_postgres::error::SqlState;

/// The settings with their values. Those that an older server does not have are left out there.
const SETTINGS: &[(&str, &str)] = &[
    // Under a stricter level, Andon's reads would take part in the conflicts of the plant's transactions.
    ("default_transaction_isolation", "read committed"),
    ("default_transaction_read_only", "off"),
    ("default_transaction_deferrable", "off"),
    // Nobody but Andon knows how long its statements take, or how long its sessions may wait for a notification.
    ("statement_timeout", "0"),
    ("lock_timeout", "0"),
    ("idle_session_timeout", "0"),
    ("transaction_timeout", "0"),
    // No transaction of Andon waits for anything but the database. One that does belongs to a process that was suspended, and would hold
    // up vacuum.
    ("idle_in_transaction_session_timeout", "60s"),
    // PostgreSQL refuses a read from which a policy would hide rows. A lane that is hidden would end without a word.
    ("row_security", "off"),
    ("search_path", "pg_catalog, pg_temp"),
    // The text forms of values, in which they travel between the server and Andon.
    ("DateStyle", "ISO, MDY"),
    ("IntervalStyle", "postgres"),
    ("TimeZone", "UTC"),
    ("extra_float_digits", "1"),
    ("bytea_output", "hex"),
    ("xmlbinary", "base64"),
    ("xmloption", "content"),
    ("array_nulls", "on"),
    ("quote_all_identifiers", "off"),
    ("standard_conforming_strings", "on"),
    ("backslash_quote", "safe_encoding"),
    ("transform_null_equals", "off"),
    ("exit_on_error", "off"),
    ("client_min_messages", "warning"),
    // Reads of ranges look costly to the planner and are not: to compile them would take longer than to run them.
    ("jit", "off"),
    ("plan_cache_mode", "auto"),
    // The server notices within half a minute that Andon's machine is gone: until then the session holds the lock that lets only one
    // daemon's tail lead.
    ("tcp_keepalives_idle", "10"),
    ("tcp_keepalives_interval", "5"),
    ("tcp_keepalives_count", "3"),
];

/// Makes the settings, in one round trip. Fails on a server that takes no writes.
///
/// Whether a commit waits for the disk or for a standby stays as the plant has it: what a crash takes back is found out when the log is
/// opened again, and to wait for a standby that is gone would stop every lane.
/// Triggers of destinations have to fire, but only a superuser may say so; `andon check` looks at this.
pub(super) async fn prepare(client: &Client) -> Result<(), Error> {
    client.batch_execute(&statements()).await
}

/// Returns the encoding of the server's texts. It sets and prepares nothing.
pub(super) async fn encoding(client: &Client) -> Result<String, Error> {
    let messages = client.simple_query("show server_encoding").await?;
    let shown = messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    });
    Ok(shown.unwrap_or_default())
}

/// Returns whether this is the error of a hot standby, or of a primary that has become one.
pub(super) fn is_of_standby(error: &Error) -> bool {
    error.code() == Some(&SqlState::FEATURE_NOT_SUPPORTED) || error.code() == Some(&SqlState::READ_ONLY_SQL_TRANSACTION)
}

fn statements() -> String {
    let values: Vec<String> = SETTINGS.iter().map(|(name, value)| format!("('{name}', '{value}')")).collect();
    format!(
        // The time limit goes first, because it would be in force for the statements after it. A standby refuses the transaction.
        "set statement_timeout = 0;
        start transaction isolation level read committed, read write;
        select set_config(wanted.name, wanted.value, false)
        from (
            values {}
            union all
            select 'session_replication_role', 'origin' where current_setting('is_superuser') = 'on'
        ) wanted (name, value)
        where pg_catalog.current_setting(wanted.name, true) is not null;
        commit",
        values.join(", ")
    )
}
