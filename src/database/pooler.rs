//! Recognises a connection that is not a session of its own. In: two new connections. Out: whether a pooler hands the server's sessions from
//! one client to the next between transactions, or even between statements. Nothing is set or prepared on them, because that would stay on
//! a session that the plant uses as well.
//!
//! A client that is outside of a transaction lends its session to whoever begins one. So one connection asks for the process that serves
//! it, another one begins a transaction, and the first one asks again: a session of its own is still served by the same process. A pooler
//! that hands its sessions out in turn shows itself when one connection asks twice.

use std::time::Duration;

use tokio::time::timeout;
use tokio_postgres::Client;
use tokio_postgres::Error;
use tokio_postgres::SimpleQueryMessage;
use tokio_postgres::error::SqlState;

/// What the connection turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// A session of its own, directly or through a pooler in session mode.
    OwnSession,
    /// One that is shared from transaction to transaction.
    SharedByTransaction,
    /// One on which there are no transactions.
    SharedByStatement,
}

/// How often it is tried: on a busy pooler, somebody else may have taken the session in between and given it back.
const ROUNDS: u32 = 3;
/// How long the first connection may wait for its answer while the second one is in its transaction. A pooler with a single session would
/// never give it.
const LONGEST: Duration = Duration::from_secs(5);

/// Judges two connections to the same address.
pub(super) async fn judge(first: &Client, second: &Client) -> Result<Verdict, Error> {
    for _ in 0..ROUNDS {
        let before = process(first).await?;
        if process(first).await? != before {
            return Ok(Verdict::SharedByTransaction);
        }
        match second.simple_query("begin").await {
            // PgBouncer's words for a mode in which each statement may go to another session.
            Err(error) if error.code() == Some(&SqlState::PROTOCOL_VIOLATION) => return Ok(Verdict::SharedByStatement),
            begun => drop(begun?),
        }
        process(second).await?;
        let asked = process(first);
        tokio::pin!(asked);
        let within = timeout(LONGEST, asked.as_mut()).await;
        second.simple_query("rollback").await?;
        let is_same = match within {
            Ok(after) => after? == before,
            // If the answer comes now, it was the transaction that held it up, and not a slow server.
            Err(_) => timeout(LONGEST, asked).await.is_err(),
        };
        if !is_same {
            return Ok(Verdict::SharedByTransaction);
        }
    }
    Ok(Verdict::OwnSession)
}

/// Asks which process serves the connection at this moment. The simple protocol prepares no statement.
async fn process(client: &Client) -> Result<String, Error> {
    let messages = client.simple_query("select pg_catalog.pg_backend_pid()").await?;
    let pid = messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    });
    Ok(pid.unwrap_or_default())
}
