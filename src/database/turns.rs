//! What one daemon does at a time, for as long as it holds its lease or a transaction lasts. In: rows of `andon.turns`, which only those
//! can lock or write who were granted it. Out: whether it is our turn. No transaction stays open for a turn that lasts.

use tokio_postgres::Error;
use tokio_postgres::GenericClient;
use tokio_postgres::Transaction;
use uuid::Uuid;

/// Waits until no other daemon lists the destinations, so that none forgets a lane that another has just found. The transaction keeps the
/// turn to its end.
pub async fn list_destinations(transaction: &Transaction<'_>) -> Result<(), Error> {
    transaction.execute("select from andon.turns where name = 'destinations' for update", &[]).await?;
    Ok(())
}

/// Asks for the turn to listen to the channels of sources: what two sessions heard would be in the log twice. It is ours until we give it
/// back or our lease ends.
pub async fn listen_to_channels(client: &impl GenericClient, daemon: &Uuid) -> Result<bool, Error> {
    let claim = "update andon.turns set daemon = $1 where name = 'channels'
        and (daemon is null or daemon = $1 or not andon.is_served(daemon))";
    Ok(client.execute(claim, &[daemon]).await? == 1)
}

/// Gives the turn back, if it is ours.
pub async fn leave_channels(client: &impl GenericClient, daemon: &Uuid) -> Result<(), Error> {
    let leave = "update andon.turns set daemon = null where name = 'channels' and daemon = $1";
    client.execute(leave, &[daemon]).await?;
    Ok(())
}
