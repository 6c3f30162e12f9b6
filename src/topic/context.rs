//! What the context of an event says of its topic. In: an event. Out: its fields by name. It reads the context once, and only when the
//! first of them is asked for.

use std::borrow::Cow;
use std::cell::OnceCell;

use crate::event::Event;
use crate::event::Field;

/// A field of the context that topics know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    Enterprise,
    Site,
    Area,
    Line,
    WorkCenter,
    Cell,
    WorkUnit,
    Operation,
    JobNumber,
    PartNumber,
}

/// In the order of [`Known`].
const NAMES: [&str; 10] = [
    "enterprise",
    "site",
    "area",
    "line",
    "work_center",
    "cell",
    "work_unit",
    "operation",
    "job_number",
    "part_number",
];

/// The context of one event.
pub(super) struct Context<'a> {
    event: &'a Event,
    fields: OnceCell<[Option<Field<'a>>; NAMES.len()]>,
}

impl<'a> Context<'a> {
    pub(super) fn of(event: &'a Event) -> Context<'a> {
        Context { event, fields: OnceCell::new() }
    }

    pub(super) fn get(&self, known: Known) -> Option<Cow<'a, str>> {
        self.fields.get_or_init(|| self.event.context.members(&NAMES))[known as usize]?.text()
    }
}
