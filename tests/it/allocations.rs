//! A bound on how often an event may ask for memory on its way from the log to the network. In: the paths that the bench measures too.
//! Out: every path that asks more often than it did when its bound was written down. Only requests of this thread are counted.

#[path = "../../benches/pure/paths.rs"]
mod paths;

use paths::PATHS;
use paths::Stage;

#[test]
fn no_hot_path_asks_for_more_memory_than_it_did() {
    let stage = Stage::new();

    let counted = PATHS.iter().map(|path| {
        // The first run does what a process sets up only once, so that it is not counted.
        (path.run)(&stage, &paths::event(1));
        let event = paths::event(2);
        let counted = allocation_counter::measure(|| (path.run)(&stage, &event));
        (path.name, counted.count_total, path.allocations)
    });

    let above: Vec<_> = counted.filter(|(_, counted, bound)| counted > bound).collect();
    assert!(above.is_empty(), "path, counted, bound: {above:#?}");
}
