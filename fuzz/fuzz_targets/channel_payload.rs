//! The payload of a notification, which anyone who may connect can send. In: any text. Out: an event with a type that is not Andon's own, or a reason.
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
            let is_letter = |letter: char| letter.is_ascii_alphanumeric() || "_-".contains(letter);
            let is_word = |word: &str| !word.is_empty() && word.chars().all(is_letter);
            assert!(event.event_type.split('.').all(is_word), "{:?}", event.event_type);
            assert!(!event.event_type.to_lowercase().starts_with("andon."), "{:?}", event.event_type);
        }
    }
});
