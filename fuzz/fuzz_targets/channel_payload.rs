//! The payload of a notification, which anyone who may connect can send. In: any text. Out: an event with a dotted type, or a reason.
#![no_main]

use std::sync::LazyLock;

use andon::capture::Mapping;
use libfuzzer_sys::fuzz_target;

static MAPPING: LazyLock<Mapping> = LazyLock::new(|| {
    let text = include_str!("../channel.toml");
    Mapping::parse("channel.toml", text).unwrap_or_else(|problems| panic!("{problems}"))
});

fuzz_target!(|payload: &str| {
    let levels = [("cell".to_owned(), "a.b".to_owned()), ("site".to_owned(), "site".to_owned())];
    for channel in &MAPPING.channels {
        if let Ok(event) = channel.read(payload, &levels) {
            assert!(event.event_type.contains('.') && !event.event_type.contains('\0'), "{:?}", event.event_type);
        }
    }
});
