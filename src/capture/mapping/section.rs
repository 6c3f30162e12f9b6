//! Typed access to one table of the mapping file. In: parsed TOML. Out: strings with their locations. An unknown key or a value of the
//! wrong type becomes a finding, and reading goes on, so that one run shows everything. It knows the meaning of no key.

use toml::de::DeTable;
use toml::de::DeValue;

use crate::capture::finding::Finding;
use crate::capture::finding::Lines;
use crate::capture::finding::Location;
use crate::capture::mapping::Lookup;
use crate::capture::mapping::TableName;
use crate::capture::mapping::Text;
use crate::nearest::nearest;

type Value<'t> = toml::Spanned<DeValue<'t>>;

/// The names that generated SQL uses itself: no lookup can have one of them as its alias.
const RESERVED_ALIASES: [&str; 6] = ["new", "old", "this", "emptied", "ladder", "event"];

/// The findings so far, and the file that they are about.
pub(super) struct Findings<'t> {
    pub(super) file: &'t str,
    pub(super) text: &'t str,
    pub(super) lines: Lines<'t>,
    pub(super) list: Vec<Finding>,
}

impl Findings<'_> {
    /// Returns the location of a byte offset in the file.
    pub(super) fn location(&self, offset: usize) -> Location {
        self.lines.location(offset)
    }

    pub(super) fn add(&mut self, location: Location, entry: &str, field: &str, message: impl Into<String>) {
        self.list.push(Finding {
            file: self.file.to_owned(),
            location,
            entry: entry.to_owned(),
            field: field.to_owned(),
            message: message.into(),
        });
    }
}

/// One table of the file, and the name that findings give it.
pub(super) struct Section<'t> {
    pub(super) entry: String,
    pub(super) location: Location,
    table: &'t DeTable<'t>,
}

impl<'t> Section<'t> {
    /// Opens the table that `value` should be, and reports keys that are not among `known`.
    pub(super) fn open(
        findings: &mut Findings<'_>,
        entry: &str,
        value: &'t Value<'t>,
        known: &[&str],
    ) -> Option<Section<'t>> {
        let location = findings.location(value.span().start);
        let DeValue::Table(table) = value.get_ref() else {
            findings.add(location, entry, "", format!("is {}, not a table", type_name(value)));
            return None;
        };
        Some(Section::of_table(findings, entry, location, table, known))
    }

    /// Does the same as `open` for a table that has been parsed already, such as the whole file.
    pub(super) fn of_table(
        findings: &mut Findings<'_>,
        entry: &str,
        location: Location,
        table: &'t DeTable<'t>,
        known: &[&str],
    ) -> Section<'t> {
        for key in table.keys().filter(|key| !known.contains(&key.get_ref().as_ref())) {
            let location = findings.location(key.span().start);
            let proposal = match nearest(key.get_ref(), known.iter().copied()) {
                Some(name) => format!("the nearest known key is {name}"),
                None => format!("the known keys are {}", known.join(", ")),
            };
            findings.add(location, entry, key.get_ref(), format!("unknown key; {proposal}"));
        }
        Section { entry: entry.to_owned(), location, table }
    }

    pub(super) fn get(&self, key: &str) -> Option<&'t Value<'t>> {
        self.table.get(key)
    }

    /// Reads a string, if the key is there.
    pub(super) fn text(&self, findings: &mut Findings<'_>, key: &str) -> Option<Text> {
        self.text_of(findings, key, self.get(key)?)
    }

    /// Reads a string that has to be there.
    pub(super) fn required(&self, findings: &mut Findings<'_>, key: &str) -> Option<Text> {
        if self.get(key).is_none() {
            findings.add(self.location, &self.entry, key, "is missing");
        }
        self.text(findings, key)
    }

    /// Reads true or false; false if the key is not there.
    pub(super) fn flag(&self, findings: &mut Findings<'_>, key: &str) -> bool {
        let Some(value) = self.get(key) else { return false };
        if let DeValue::Boolean(flag) = value.get_ref() {
            return *flag;
        }
        let location = findings.location(value.span().start);
        findings.add(location, &self.entry, key, format!("is {}; write true or false", type_name(value)));
        false
    }

    /// Reads a string or a list of strings.
    pub(super) fn texts(&self, findings: &mut Findings<'_>, key: &str) -> Vec<Text> {
        match self.get(key) {
            None => Vec::new(),
            Some(value) => match value.get_ref() {
                DeValue::Array(items) => items.iter().filter_map(|item| self.text_of(findings, key, item)).collect(),
                _ => self.text_of(findings, key, value).into_iter().collect(),
            },
        }
    }

    /// Reads a table of strings, `{ name = "…" }`.
    pub(super) fn pairs(&self, findings: &mut Findings<'_>, key: &str) -> Vec<(String, Text)> {
        let Some(value) = self.get(key) else { return Vec::new() };
        let DeValue::Table(table) = value.get_ref() else {
            let location = findings.location(value.span().start);
            let message = format!("is {}; write {{ name = \"expression\" }}", type_name(value));
            findings.add(location, &self.entry, key, message);
            return Vec::new();
        };
        let mut pairs: Vec<(String, Text)> = table
            .iter()
            .filter_map(|(name, value)| {
                let text = self.text_of(findings, &format!("{key}.{}", name.get_ref()), value)?;
                Some((name.get_ref().to_string(), text))
            })
            .collect();
        // The parser sorts keys by name, but the author of the file expects its own order in the SQL.
        pairs.sort_by_key(|(_, text)| text.location);
        pairs
    }

    /// Reads a string that names a table, or a list of the names that it may have.
    pub(super) fn table_names(&self, findings: &mut Findings<'_>, key: &str) -> Option<TableName> {
        let mut names: Vec<TableName> = Vec::new();
        for text in self.texts(findings, key) {
            names.push(self.table_of(findings, key, &text)?);
        }
        let mut names = names.into_iter();
        let first = names.next();
        if let (None, Some(value)) = (&first, self.get(key))
            && matches!(value.get_ref(), DeValue::Array(_))
        {
            let location = findings.location(value.span().start);
            findings.add(location, &self.entry, key, "is empty; name a table");
        }
        Some(TableName { others: names.collect(), ..first? })
    }

    /// Reads a string that names a table.
    pub(super) fn table_name(&self, findings: &mut Findings<'_>, key: &str) -> Option<TableName> {
        let text = self.text(findings, key)?;
        self.table_of(findings, key, &text)
    }

    fn table_of(&self, findings: &mut Findings<'_>, key: &str, text: &Text) -> Option<TableName> {
        if text.sql.split('.').count() > 2 || text.sql.split('.').any(str::is_empty) || text.sql.contains('"') {
            let message = format!("`{}` is not a table; write table or schema.table, without quotes", text.sql);
            findings.add(text.location, &self.entry, key, message);
            return None;
        }
        Some(TableName::new(&text.sql, text.location))
    }

    /// Reads the key `table`, which has to be there.
    pub(super) fn required_table(&self, findings: &mut Findings<'_>) -> Option<TableName> {
        if self.get("table").is_none() {
            findings.add(self.location, &self.entry, "table", "is missing");
        }
        self.table_names(findings, "table")
    }

    /// Reads the lookups of an entry, `lookup = [{ alias = "…", table = "…", on = "…" }]`.
    pub(super) fn lookups(&self, findings: &mut Findings<'_>) -> Vec<Lookup> {
        let Some(value) = self.get("lookup") else { return Vec::new() };
        let DeValue::Array(items) = value.get_ref() else {
            let location = findings.location(value.span().start);
            let message = "is not a list; write [{ alias = \"…\", table = \"…\", on = \"…\" }]";
            findings.add(location, &self.entry, "lookup", message);
            return Vec::new();
        };
        items.iter().filter_map(|item| self.lookup(findings, item)).collect()
    }

    fn lookup(&self, findings: &mut Findings<'_>, item: &'t Value<'t>) -> Option<Lookup> {
        let section = Section::open(findings, &self.entry, item, &["alias", "table", "on", "optional"])?;
        let alias = section.required(findings, "alias");
        let table = section.required_table(findings);
        let on = section.required(findings, "on");
        let (alias, table, on) = (alias?, table?, on?);
        let is_letter = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_';
        let is_name =
            alias.sql.starts_with(|first: char| first.is_ascii_lowercase()) && alias.sql.chars().all(is_letter);
        if !is_name || RESERVED_ALIASES.contains(&alias.sql.as_str()) {
            let message = format!(
                "`{}` cannot be an alias; use a lower-case word other than {}",
                alias.sql,
                RESERVED_ALIASES.join(", ")
            );
            findings.add(alias.location, &self.entry, "lookup.alias", message);
            return None;
        }
        let on = Text { field: format!("lookup.{}", alias.sql), ..on };
        let is_optional = section.flag(findings, "optional");
        Some(Lookup { alias: alias.sql, table, on, is_optional })
    }

    fn text_of(&self, findings: &mut Findings<'_>, field: &str, value: &Value<'_>) -> Option<Text> {
        let location = findings.location(value.span().start);
        match value.get_ref() {
            DeValue::String(text) => Some(Text { field: field.to_owned(), sql: text.to_string(), location }),
            _ => {
                findings.add(location, &self.entry, field, format!("is {}, not a string", type_name(value)));
                None
            }
        }
    }
}

/// Returns the type of a value, as a finding calls it.
fn type_name(value: &Value<'_>) -> &'static str {
    match value.get_ref() {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
