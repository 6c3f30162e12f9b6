//! Reads from the sources of a crate which file imports which. In: the name and the text of each file. Out: a graph of files. It sees
//! paths from `crate`, `super` and `self`, and paths through a child module that the file declares. It does not see the paths that a macro
//! expands to, and it takes a group such as `use crate::a::{b, c}` for an import of `a` alone.

use std::collections::BTreeMap;

/// Maps each file to the files that it imports, and each of these to a path that imports it.
pub(super) type Graph = BTreeMap<String, BTreeMap<String, String>>;

/// Builds the graph. Tests are left out, because they may import any files that they try together.
pub(super) fn graph(files: &[(String, String)]) -> Graph {
    let has_library = files.iter().any(|(name, _)| name == "lib.rs");
    let files: BTreeMap<String, &(String, String)> = files
        .iter()
        .filter(|(name, _)| !(name.ends_with("tests.rs") || has_library && name == "main.rs"))
        .map(|file| (module(&file.0), file))
        .collect();
    let mut graph = Graph::new();
    for (module, (name, text)) in &files {
        let imported = graph.entry(name.clone()).or_default();
        for path in paths(module, &code(text), &files) {
            if let Some(other) = resolve(&path, &files).filter(|other| *other != name) {
                imported.entry(other.to_owned()).or_insert(path);
            }
        }
    }
    graph
}

/// Returns the module's path in its crate: `a::b` for `a/b.rs`, and an empty path for the root.
fn module(name: &str) -> String {
    match name.trim_end_matches(".rs") {
        "lib" | "main" => String::new(),
        name => name.replace('/', "::"),
    }
}

/// Returns the file of the deepest module on the path. It is the file of the root if the path names an item of the root.
fn resolve<'a>(path: &str, files: &BTreeMap<String, &'a (String, String)>) -> Option<&'a str> {
    let mut module = path;
    loop {
        if let Some((name, _)) = files.get(module) {
            return Some(name);
        }
        module = module.rsplit_once("::").map(|(parent, _)| parent).filter(|_| !module.is_empty()).unwrap_or_default();
        if module.is_empty() {
            return files.get("").map(|(name, _)| name.as_str());
        }
    }
}

/// Returns the text without its comments and without the module of its tests.
fn code(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod ").next().unwrap();
    code.lines().filter(|line| !line.trim_start().starts_with("//")).map(|line| format!("{line}\n")).collect()
}

/// Returns all paths in a module's code that lead to a file of the crate, written from the root of the crate.
fn paths(module: &str, code: &str, files: &BTreeMap<String, &(String, String)>) -> Vec<String> {
    let code = without_re_exports(module, code, files);
    let parent = module.rsplit_once("::").map_or("", |(parent, _)| parent);
    let mut bases = vec![("crate", String::new()), ("self", module.to_owned()), ("super", parent.to_owned())];
    let declared = code.lines().filter_map(|line| Some(line.strip_suffix(';')?.rsplit_once("mod ")?.1));
    bases.extend(declared.map(|child| (child, join(module, child))).filter(|(_, child)| files.contains_key(child)));
    let mut paths = Vec::new();
    for (word, base) in bases {
        for (before, after) in occurrences(&code, word) {
            // The path `a::word::b` starts at `a`, and `pub(in crate::a)` is a visibility and no import.
            if let Some(rest) =
                after.strip_prefix("::").filter(|_| !before.ends_with("::") && !before.ends_with("(in "))
            {
                let rest = rest.split(|letter| !is_word(letter) && letter != ':').next().unwrap();
                paths.push(join(&base, rest.trim_end_matches(':')));
            }
        }
    }
    paths
}

/// Removes each `pub use` of a child's item that the code itself does not use, because a parent that only re-exports an item of its child
/// does not depend on the child.
fn without_re_exports(module: &str, code: &str, files: &BTreeMap<String, &(String, String)>) -> String {
    let mut rest = code.to_owned();
    for path in code.split_inclusive(';').filter_map(re_export) {
        let from_root = path.trim_start_matches("crate::");
        let child = from_root.split("::").next().unwrap();
        let is_of_child = from_root.starts_with(&join(module, "")) || files.contains_key(&join(module, child));
        let name = path.rsplit(|letter| !is_word(letter)).next().unwrap();
        if is_of_child && occurrences(code, name).count() == 1 {
            rest = rest.replace(&format!("use {path};"), "");
        }
    }
    rest
}

/// Returns the path that a statement re-exports, if it is a `pub use`.
fn re_export(statement: &str) -> Option<&str> {
    let (visibility, path) = statement.trim().strip_suffix(';')?.rsplit_once("use ")?;
    visibility.trim_end().rsplit('\n').next().filter(|visibility| visibility.starts_with("pub")).map(|_| path)
}

/// Returns the text before and after each place where the word stands as a whole word.
fn occurrences<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
    code.match_indices(word)
        .map(|(at, _)| (&code[..at], &code[at + word.len()..]))
        .filter(|(before, after)| !before.ends_with(is_word) && !after.starts_with(is_word))
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

fn join(base: &str, rest: &str) -> String {
    if base.is_empty() { rest.to_owned() } else { format!("{base}::{rest}") }
}
