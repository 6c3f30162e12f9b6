//! What an endpoint answers. In: any bytes in place of an answer. Out: a status of three digits or none, and an end.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tokio::runtime::Builder;
use tokio::runtime::Runtime;

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().enable_time().build().expect("a runtime needs nothing"));

fuzz_target!(|answer: &[u8]| {
    let status = RUNTIME.block_on(andon::lane::webhook::fuzzing::status_of(answer));
    assert!(status.is_none_or(|status| (100..1000).contains(&status)), "{status:?}");
});
