//! What commands print for people and for machines. In: texts that may hold what strangers wrote. Out: lines on a terminal that does not obey
//! them.

use std::fmt::Display;

use crate::legible;

/// Prints lines for people.
pub(super) fn show(text: impl Display) {
    print!("{}", legible::text(text.to_string()));
}

/// Prints a document in JSON.
pub(super) fn document(json: impl Display) {
    println!("{}", legible::json(&json.to_string()));
}

/// Says on standard error what went wrong.
pub(super) fn complain(text: impl Display) {
    eprintln!("andon: {}", legible::text(text.to_string()));
}
