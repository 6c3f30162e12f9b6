//! The layers of a configuration: the file, and the environment, which overrides it. In: a TOML table and variables. Out: one value at a
//! time, or its default, and in the end a list of everything that was wrong. It knows no section by name.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use toml::Table;
use toml::Value;

use crate::config::environment::Environment;
use crate::config::problem::Problem;
use crate::config::unreadable;
use crate::nearest::nearest;
use crate::quantity;
use crate::secret::Secret;

pub(super) struct Layers<'a> {
    sections: BTreeMap<String, Table>,
    directory: Option<&'a Path>,
    environment: Environment,
    /// Every key that was asked for, by section. Any other key is unknown.
    asked: BTreeMap<String, BTreeSet<String>>,
    problems: Vec<Problem>,
    /// What can be used, but should not stay so.
    pub(super) warnings: Vec<Problem>,
}

/// What others on this host may do with a file.
enum Opening {
    Writable,
    Readable,
}

/// A value, and the name that messages give it.
struct Found {
    key: String,
    value: Value,
    from_file: bool,
}

impl<'a> Layers<'a> {
    pub(super) fn new(file: Table, directory: Option<&'a Path>, environment: Environment) -> Layers<'a> {
        let mut layers = Layers {
            sections: BTreeMap::new(),
            directory,
            environment,
            asked: BTreeMap::new(),
            problems: Vec::new(),
            warnings: Vec::new(),
        };
        for (name, value) in file {
            match value {
                Value::Table(table) => {
                    layers.sections.insert(name, table);
                }
                _ => layers
                    .problem(&name, format!("is not a section; write it below one, as in `[{name}]`, or remove it")),
            }
        }
        layers
    }

    /// Returns all problems, including unknown keys.
    pub(super) fn finish(mut self) -> Vec<Problem> {
        for (section, keys) in std::mem::take(&mut self.sections) {
            match self.asked.get(&section) {
                None => {
                    let hint = hint(&section, self.asked.keys().filter(|name| !name.contains('.')).map(String::as_str));
                    self.problem(&section, format!("unknown section{hint}"));
                }
                Some(known) => {
                    for key in keys.keys().filter(|key| !known.contains(*key)) {
                        let message = format!("unknown key{}", hint(key, known.iter().map(String::as_str)));
                        self.problems.push(Problem { key: format!("{section}.{key}"), message });
                    }
                }
            }
        }
        self.misspelt_variables();
        self.problems
    }

    /// Returns the keys that were asked for, by section.
    #[cfg(test)]
    pub(super) fn asked(&self) -> &BTreeMap<String, BTreeSet<String>> {
        &self.asked
    }

    pub(super) fn problem(&mut self, key: &str, message: String) {
        self.problems.push(Problem { key: key.to_owned(), message });
    }

    /// Returns whether `key`, or the file that can replace it, has a problem.
    pub(super) fn has_problem(&self, section: &str, key: &str) -> bool {
        let names = [format!("{section}.{key}"), variable(section, key)];
        self.problems.iter().any(|problem| names.iter().any(|name| problem.key.starts_with(name)))
    }

    /// Reads a variable by its full name, which need not be one of Andon's. An empty variable counts as not set.
    pub(super) fn variable(&self, name: &str) -> Option<String> {
        self.environment.get(name).filter(|value| !value.trim().is_empty()).cloned()
    }

    pub(super) fn text(&mut self, section: &str, key: &str) -> Option<String> {
        let found = self.find(section, key)?;
        match found.value {
            Value::String(text) if text.trim().is_empty() => {
                self.refuse(&found.key, "is empty; give it a value or remove it")
            }
            Value::String(text) => Some(text),
            // The value is not shown, because it may be a secret.
            _ => self.refuse(&found.key, "is not a string; write it in quotes"),
        }
    }

    pub(super) fn number<T>(&mut self, section: &str, key: &str, default: T, range: RangeInclusive<T>) -> T
    where
        T: FromStr + PartialOrd + Display,
    {
        let Some(found) = self.find(section, key) else { return default };
        let text = match &found.value {
            Value::String(text) if !found.from_file => text.trim().to_owned(),
            other => other.to_string(),
        };
        let number = text.parse().ok().filter(|number| range.contains(number));
        number
            .or_else(|| {
                self.refuse(
                    &found.key,
                    format!("`{text}` is not a whole number from {} to {}", range.start(), range.end()),
                )
            })
            .unwrap_or(default)
    }

    pub(super) fn duration(
        &mut self,
        section: &str,
        key: &str,
        default: Duration,
        range: RangeInclusive<Duration>,
    ) -> Duration {
        let limits = format!("from {:?} to {:?}", range.start(), range.end());
        self.quantity(section, key, default, range, &limits, quantity::duration)
    }

    pub(super) fn size(&mut self, section: &str, key: &str, default: usize, range: RangeInclusive<usize>) -> usize {
        let limits = match *range.end() {
            usize::MAX => format!("of at least {} bytes", range.start()),
            end => format!("from {} to {end} bytes", range.start()),
        };
        self.quantity(section, key, default, range, &limits, quantity::bytes)
    }

    /// Reads one of a few words, which messages list as `wanted`.
    pub(super) fn choice<T>(
        &mut self,
        section: &str,
        key: &str,
        default: T,
        wanted: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> T {
        let Some(found) = self.find(section, key) else { return default };
        let chosen = found.value.as_str().and_then(|text| parse(text.trim()));
        chosen.or_else(|| self.refuse(&found.key, format!("{} is not {wanted}", found.value))).unwrap_or(default)
    }

    /// Reads a list of strings, which `parse` interprets. In a variable the items are separated by commas.
    pub(super) fn parsed_list<T, E: Display>(
        &mut self,
        section: &str,
        key: &str,
        default: T,
        parse: impl Fn(&[String]) -> Result<T, E>,
    ) -> T {
        let Some(found) = self.find(section, key) else { return default };
        let items: Option<Vec<String>> = match &found.value {
            Value::String(text) if !found.from_file => {
                Some(text.split(',').map(|item| item.trim().to_owned()).collect())
            }
            Value::Array(items) => items.iter().map(|item| item.as_str().map(str::to_owned)).collect(),
            _ => None,
        };
        let outcome = match items {
            Some(items) => parse(&items).map_err(|error| error.to_string()),
            None => Err(format!("{} is not a list of strings; write it as in `[\"5s\", \"5m\"]`", found.value)),
        };
        outcome.or_else(|message| self.refuse(&found.key, message).ok_or(())).unwrap_or(default)
    }

    /// Reads the path of a file, which must be readable.
    pub(super) fn file(&mut self, section: &str, key: &str) -> Option<PathBuf> {
        let found = self.find(section, key)?;
        let Some(text) = found.value.as_str().filter(|text| !text.is_empty()) else {
            return self.refuse(&found.key, format!("{} is not the path of a file; write it in quotes", found.value));
        };
        let path = self.path(&found, text);
        match std::fs::File::open(&path) {
            Ok(_) => Some(path),
            Err(error) => self.refuse(&found.key, format!("{}; name a readable file", unreadable::text(&path, &error))),
        }
    }

    /// Reads the path of a directory, which must be there.
    pub(super) fn directory(&mut self, section: &str, key: &str) -> Option<PathBuf> {
        let found = self.find(section, key)?;
        let Some(text) = found.value.as_str().filter(|text| !text.is_empty()) else {
            let message = format!("{} is not the path of a directory; write it in quotes", found.value);
            return self.refuse(&found.key, message);
        };
        let path = self.path(&found, text);
        match path.metadata() {
            Ok(metadata) if metadata.is_dir() => Some(path),
            Ok(_) => self.refuse(&found.key, format!("`{}` is not a directory; name one", path.display())),
            Err(error) => self.refuse(&found.key, format!("{}; name a directory", unreadable::text(&path, &error))),
        }
    }

    /// Reads a secret: the value of `key`, or the content of the file that `<key>_file` names. A variable for either of them beats both
    /// keys of the file.
    pub(super) fn secret(&mut self, section: &str, key: &str) -> Option<Secret> {
        let key_file = format!("{key}_file");
        let in_environment = |key: &str| self.variable(&variable(section, key)).is_some();
        let (text_set, file_set) = (in_environment(key), in_environment(&key_file));
        let in_file = |key: &str| self.sections.get(section).is_some_and(|keys| keys.contains_key(key));
        let both = if text_set || file_set { text_set && file_set } else { in_file(key) && in_file(&key_file) };
        // Both are asked for in any case, so that neither counts as unknown.
        let (text, path) = match (text_set, file_set) {
            (true, false) => (self.text(section, key), self.ignored(section, &key_file)),
            (false, true) => (self.ignored(section, key), self.file(section, &key_file)),
            _ => (self.text(section, key), self.file(section, &key_file)),
        };
        let name = format!("{section}.{key}");
        if both {
            return self.refuse(&name, format!("is set, and {key_file} as well; remove one of them"));
        }
        let Some(path) = path else { return text.map(Secret::new) };
        match open_to_others(&path) {
            Some(Opening::Writable) => {
                let advice = "may be written by others, who could send Andon elsewhere; run `chmod 600` on it";
                return self.refuse(&format!("{name}_file"), format!("`{}` {advice}", path.display()));
            }
            Some(Opening::Readable) => {
                let message =
                    format!("`{}` may be read by every user of this host; run `chmod 600` on it", path.display());
                self.warnings.push(Problem { key: format!("{name}_file"), message });
            }
            None => {}
        }
        match std::fs::read_to_string(&path) {
            Ok(text) if text.trim().is_empty() => {
                self.refuse(&format!("{name}_file"), format!("`{}` is empty", path.display()))
            }
            Ok(text) => Some(Secret::new(text.trim().to_owned())),
            Err(error) => self.refuse(&format!("{name}_file"), unreadable::text(&path, &error)),
        }
    }

    /// Returns the names of the tables within a section.
    pub(super) fn names_within(&mut self, section: &str) -> Vec<String> {
        self.asked.entry(section.to_owned()).or_default();
        let mut names = Vec::new();
        for (name, value) in self.sections.remove(section).unwrap_or_default() {
            let path = format!("{section}.{name}");
            match value {
                Value::Table(table) => {
                    self.sections.insert(path, table);
                    names.push(name);
                }
                _ => self.problem(&path, format!("is not a table; write `[{section}.\"{name}\"]` above its keys")),
            }
        }
        // A table without keys is known as well.
        for name in &names {
            self.asked.entry(format!("{section}.{name}")).or_default();
        }
        names
    }

    fn quantity<T: PartialOrd, E: Display>(
        &mut self,
        section: &str,
        key: &str,
        default: T,
        range: RangeInclusive<T>,
        limits: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> T {
        let Some(found) = self.find(section, key) else { return default };
        let Some(text) = found.value.as_str() else {
            self.refuse::<()>(
                &found.key,
                format!("`{}` has no unit; write a string such as \"15s\" or \"1MiB\"", found.value),
            );
            return default;
        };
        let message = match parse(text.trim()) {
            Ok(quantity) if range.contains(&quantity) => return quantity,
            Ok(_) => format!("`{text}` is out of bounds; choose a value {limits}"),
            Err(error) => error.to_string(),
        };
        self.refuse::<()>(&found.key, message);
        default
    }

    fn ignored<T>(&mut self, section: &str, key: &str) -> Option<T> {
        self.ask(section, key);
        None
    }

    fn ask(&mut self, section: &str, key: &str) {
        self.asked.entry(section.to_owned()).or_default().insert(key.to_owned());
    }

    fn find(&mut self, section: &str, key: &str) -> Option<Found> {
        self.ask(section, key);
        let variable = variable(section, key);
        if let Some(text) = self.variable(&variable) {
            return Some(Found { key: variable, value: Value::String(text), from_file: false });
        }
        let value = self.sections.get(section)?.get(key)?.clone();
        Some(Found { key: format!("{section}.{key}"), value, from_file: true })
    }

    /// Returns the path that a value means. In the file, it starts where the file is.
    fn path(&self, found: &Found, text: &str) -> PathBuf {
        match self.directory {
            Some(directory) if found.from_file => directory.join(text),
            _ => PathBuf::from(text),
        }
    }

    fn refuse<T>(&mut self, key: &str, message: impl Into<String>) -> Option<T> {
        self.problem(key, message.into());
        None
    }

    /// Reports variables that are one slip away from a known one: they would have no effect, and nobody would notice. Other variables that
    /// begin with ANDON_ are left alone, because container platforms set some.
    fn misspelt_variables(&mut self) {
        let sections: Vec<&str> = self.asked.keys().map(String::as_str).filter(|name| !name.contains('.')).collect();
        let keys = |section: &str| self.asked.get(section).into_iter().flatten().map(String::as_str);
        let mut misspelt = Vec::new();
        for name in self.environment.keys() {
            let lower = name.to_lowercase();
            let Some((section, key)) = lower.strip_prefix("andon_").and_then(|tail| tail.split_once('_')) else {
                continue;
            };
            let meant = if sections.contains(&section) {
                let is_ours = keys(section).any(|known| known == key);
                nearest(key, keys(section)).filter(|_| !is_ours).map(|key| (section, key))
            } else {
                let other = nearest(section, sections.iter().copied());
                other.and_then(|other| keys(other).find(|known| *known == key).map(|key| (other, key)))
            };
            if let Some((section, key)) = meant {
                let message = format!("unknown variable; did you mean `{}`?", variable(section, key));
                misspelt.push(Problem { key: name.clone(), message });
            }
        }
        self.problems.extend(misspelt);
    }
}

/// Returns what those may do with a file who are neither its owner nor of its group.
fn open_to_others(path: &Path) -> Option<Opening> {
    let mode = path.metadata().ok()?.mode();
    match (mode & 0o002, mode & 0o004) {
        (0, 0) => None,
        (0, _) => Some(Opening::Readable),
        _ => Some(Opening::Writable),
    }
}

/// Returns the variable that overrides a key.
fn variable(section: &str, key: &str) -> String {
    format!("ANDON_{section}_{key}").to_uppercase()
}

/// Returns the end of a message about an unknown name: the nearest known one, or all of them.
fn hint<'a>(wanted: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    match nearest(wanted, known.clone()) {
        Some(name) => format!("; did you mean `{name}`?"),
        None => format!("; known are {}", known.collect::<Vec<_>>().join(", ")),
    }
}
