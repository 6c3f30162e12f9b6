//! What a check finds out about the fields of a mapping. In: entries and fields. Out: the type of each, the names that events can have, and what
//! is left out.

use std::collections::HashMap;
use std::collections::HashSet;

use tokio_postgres::types::Type;

use crate::capture::check::zoneless::name_of;
use crate::capture::mapping::Capture;

/// The types of a mapping's expressions, by entry and field, and what is left out.
#[derive(Debug, Default)]
pub struct Types {
    types: HashMap<(usize, String), String>,
    left_out: HashSet<(usize, String)>,
    names: HashMap<usize, Vec<String>>,
}

impl Types {
    /// Returns the type of a field such as `data.job_number`, if the database knows one.
    pub fn of(&self, capture: &Capture, field: &str) -> Option<&str> {
        self.types.get(&(capture.number, field.to_owned())).map(String::as_str)
    }

    /// Returns whether a field is left out, or the whole entry, because the database does not have what it names. An empty field asks about
    /// the entry.
    pub fn leaves_out(&self, capture: &Capture, field: &str) -> bool {
        self.left_out.contains(&(capture.number, field.to_owned()))
    }

    /// Returns the types that the events of an entry with `type_sql` can have, if that is known.
    pub fn names(&self, capture: &Capture) -> &[String] {
        self.names.get(&capture.number).map_or(&[], Vec::as_slice)
    }

    pub(super) fn name(&mut self, capture: &Capture, names: Vec<String>) {
        self.names.insert(capture.number, names);
    }

    pub(super) fn leave_out(&mut self, capture: &Capture, field: &str) {
        self.left_out.insert((capture.number, field.to_owned()));
    }

    pub(super) fn insert(&mut self, capture: &Capture, field: &str, data_type: &Type) {
        self.types.insert((capture.number, field.to_owned()), name_of(data_type));
    }
}
