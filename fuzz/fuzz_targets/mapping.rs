//! A mapping file. In: any text. Out: a mapping, or findings that name places within the file.
#![no_main]

use andon::capture::Mapping;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let lines = text.lines().count().max(1);
    if let Err(problems) = Mapping::parse("fuzz.toml", text) {
        assert!(!problems.0.is_empty(), "a mapping that is refused without a reason");
        let shown = problems.to_string();
        assert!(shown.len() < 1 << 22, "{} bytes of findings for {lines} lines", shown.len());
    }
});
