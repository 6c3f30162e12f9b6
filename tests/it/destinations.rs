//! One row, one table, one file or one task of the destinations is never more than its own trouble. In: destinations that are odd in every
//! way, beside a webhook that is not. Out: whether the state of the odd one says what is wrong, and whether the other gets everything.

mod files;
mod large;
mod locked;
mod named;
mod rows;
mod switched;
mod tables;

use rig::Receiver;
use serde_json::json;

use crate::support::line::Line;
use crate::support::line::PATIENCE;
use crate::support::line::marker;

/// The path of the healthy webhook.
const NEIGHBOUR: &str = "/neighbour";

/// Creates a line with the healthy webhook.
async fn line_with_a_neighbour() -> (Line, Receiver) {
    let receiver = Receiver::start().await.unwrap();
    let line = Line::new().await;
    line.webhook(&receiver.url(NEIGHBOUR), json!({})).await;
    (line, receiver)
}

/// Emits an event, and waits until the healthy webhook has it.
async fn the_neighbour_gets(line: &Line, receiver: &Receiver, counter: u64) {
    line.emit("acme", "e", counter).await;
    the_neighbour_got(receiver, counter).await;
}

async fn the_neighbour_got(receiver: &Receiver, counter: u64) {
    let is_it = |path: &str, body: &[u8]| path == NEIGHBOUR && marker(body) == ("e".to_owned(), counter);
    receiver.acceptances().wait_for(PATIENCE, |it| is_it(&it.path, &it.body)).await.unwrap();
}
