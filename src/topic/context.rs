//! The fields of an event's context that topics use. In: an event. Out: its fields by name. It parses the context once, and only when the
//! first field is asked for.

use std::borrow::Cow;
use std::cell::OnceCell;

use crate::event::Event;
use crate::event::Field;

/// A field of the context that a topic can contain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ContextField {
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

/// The names of the fields, in the order of [`ContextField`].
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

    pub(super) fn get(&self, field: ContextField) -> Option<Cow<'a, str>> {
        self.fields.get_or_init(|| self.event.context.members(&NAMES))[field as usize]?.text()
    }
}
