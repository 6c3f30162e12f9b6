//! No two files import each other, neither directly nor through others. In: the sources of each crate. Out: every circle, with the paths
//! that close it. Files in a circle can only be understood together, as if they were one long file.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use crate::architecture::imports::Graph;
use crate::architecture::imports::graph;
use crate::architecture::sources;

/// The folder of the sources of each crate.
const ROOTS: &[&str] = &["src", "rig/src", "lab/src"];

#[test]
fn no_two_files_import_each_other() {
    let mut found = Vec::new();
    for root in ROOTS {
        let files: Vec<_> = sources(root).map(|(_, name, text)| (name, text)).collect();
        for circle in circles(&graph(&files)) {
            found.push(format!("in {root}:\n{}", describe(&circle)));
        }
    }

    assert!(found.is_empty(), "files import each other in a circle {}", found.join("\nand "));
}

/// Returns the circles in the graph, each as a graph of its own.
fn circles(graph: &Graph) -> Vec<Graph> {
    let reached: BTreeMap<&str, BTreeSet<&str>> =
        graph.keys().map(|file| (file.as_str(), reach(graph, file))).collect();
    let mut circles = Vec::new();
    let mut seen = BTreeSet::new();
    for file in graph.keys().filter(|file| reached[file.as_str()].contains(file.as_str())) {
        let is_in_circle =
            |other: &str| reached[file.as_str()].contains(other) && reached[other].contains(file.as_str());
        if seen.insert(file.as_str()) {
            let mut circle = graph.clone();
            circle.retain(|other, _| is_in_circle(other));
            circle.values_mut().for_each(|imported| imported.retain(|other, _| is_in_circle(other)));
            seen.extend(graph.keys().map(String::as_str).filter(|other| is_in_circle(other)));
            circles.push(circle);
        }
    }
    circles
}

/// Returns the files that a file imports, directly or through others.
fn reach<'a>(graph: &'a Graph, file: &'a str) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut open = vec![file];
    while let Some(file) = open.pop() {
        open.extend(graph[file].keys().map(String::as_str).filter(|other| reached.insert(*other)));
    }
    reached
}

/// Writes one line for each import that is part of the circle.
fn describe(circle: &Graph) -> String {
    let arrows = circle.iter().flat_map(|(file, imported)| {
        imported.iter().map(move |(other, path)| format!("  {file} imports {other}, as {path}"))
    });
    arrows.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Finds the circles in a small crate, and returns their descriptions.
    fn described(files: &[(&str, &str)]) -> Vec<String> {
        let files: Vec<_> = files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        circles(&graph(&files)).iter().map(describe).collect()
    }

    #[test]
    fn a_circle_is_described_with_the_paths_that_close_it() {
        let circle = described(&[
            ("lib.rs", "pub mod a;\npub mod c;\n"),
            ("a.rs", "mod b;\nuse crate::c::C;\n"),
            ("a/b.rs", "use crate::a::A;\n"),
            ("c.rs", "use crate::a::b::B;\n"),
        ]);

        assert_eq!(
            circle,
            ["  a.rs imports c.rs, as c::C\n  a/b.rs imports a.rs, as a::A\n  c.rs imports a/b.rs, as a::b::B"]
        );
    }

    #[test]
    fn each_circle_is_described_once_and_an_import_that_leads_into_it_is_not_part_of_it() {
        let circles = described(&[
            ("a.rs", "use crate::b;\n"),
            ("b.rs", "use crate::c::C;\nuse crate::d::D;\n"),
            ("c.rs", "use crate::b::B;\n"),
            ("d.rs", "use crate::e::E;\n"),
            ("e.rs", "fn e(d: crate::d::D) {}\n"),
        ]);

        assert_eq!(
            circles,
            [
                "  b.rs imports c.rs, as c::C\n  c.rs imports b.rs, as b::B",
                "  d.rs imports e.rs, as e::E\n  e.rs imports d.rs, as d::D",
            ]
        );
    }

    #[test]
    fn a_parent_imports_a_child_that_it_uses_and_not_one_that_it_declares_or_shows() {
        let child = ("a/b.rs", "use crate::a::A;\n");
        let uses = |parent: &str| !described(&[("a.rs", parent), child]).is_empty();

        assert!(uses("mod b;\nfn a() { b::run() }\n"));
        assert!(uses("pub mod b;\nuse crate::a::b::B;\n"));
        assert!(uses("mod b;\npub use b::B;\nfn a(b: B) {}\n"));
        assert!(!uses("pub mod b;\n"));
        assert!(!uses("mod b;\npub use b::B;\npub(crate) use crate::a::b::C;\n"));
    }

    #[test]
    fn an_item_of_a_child_that_is_imported_from_the_parent_is_an_import_of_the_parent() {
        let parent = ("a.rs", "mod b;\nmod c;\npub use b::B;\nfn a() { c::run() }\n");

        assert_eq!(described(&[parent, ("a/b.rs", ""), ("a/c.rs", "use crate::a::B;\n")]).len(), 1);
        assert_eq!(described(&[parent, ("a/b.rs", ""), ("a/c.rs", "use crate::a::b::B;\n")]).len(), 0);
    }

    #[test]
    fn paths_from_here_count_and_tests_comments_and_visibilities_do_not() {
        let back = |text: &str| !described(&[("a.rs", "mod b;\nfn a() { b::run() }\n"), ("a/b.rs", text)]).is_empty();

        assert!(back("fn b() { super::run() }\n"));
        assert!(!back("fn b() { self::c::run() }\n"));
        assert!(!back("//! See [`crate::a::A`].\npub(in crate::a) fn b() {}\n"));
        assert!(!back("fn b() {}\n#[cfg(test)]\nmod tests {\n    use crate::a::A;\n}\n"));
        assert!(
            described(&[("a.rs", "use crate::b::B;\n"), ("b.rs", ""), ("b/tests.rs", "use crate::a::A;\n")]).is_empty()
        );
    }

    #[test]
    fn an_item_of_the_root_is_an_import_of_the_root() {
        let root = "mod a;\nfn main() { a::run() }\nstruct Report;\n";

        assert_eq!(described(&[("main.rs", root), ("a.rs", "use crate::Report;\n")]).len(), 1);
        assert_eq!(
            described(&[("lib.rs", "pub mod a;\n"), ("main.rs", root), ("a.rs", "use crate::Report;\n")]).len(),
            0
        );
    }
}
