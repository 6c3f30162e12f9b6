//! Typed access to one table of the mapping file. In: parsed TOML. Out: texts with their places; whatever is unknown or of the wrong
//! type becomes a finding and reading goes on, so that one run shows everything. It knows no meaning of any key.

use crate::capture::finding::Finding;
use crate::capture::finding::Place;
use crate::capture::mapping::Lookup;
use crate::capture::mapping::TableName;
use crate::capture::mapping::Text;
use crate::nearest::nearest;

type Value<'t> = toml::Spanned<toml::de::DeValue<'t>>;

/// The findings so far, and what they need to name their place.
pub(crate) struct Report<'t> {
    pub(crate) file: &'t str,
    pub(crate) text: &'t str,
    pub(crate) findings: Vec<Finding>,
}

impl Report<'_> {
    pub(crate) fn place(&self, offset: usize) -> Place {
        Place::of(self.text, offset)
    }

    pub(crate) fn add(&mut self, place: Place, entry: &str, field: &str, message: impl Into<String>) {
        self.findings.push(Finding {
            file: self.file.to_owned(),
            place,
            entry: entry.to_owned(),
            field: field.to_owned(),
            message: message.into(),
        });
    }
}

/// One table of the file, and how findings name it.
pub(crate) struct Section<'t> {
    pub(crate) entry: String,
    pub(crate) place: Place,
    table: &'t toml::de::DeTable<'t>,
}

impl<'t> Section<'t> {
    /// Opens a table and reports the keys that nobody knows.
    pub(crate) fn open(
        report: &mut Report<'_>,
        entry: &str,
        value: &'t Value<'t>,
        known: &[&str],
    ) -> Option<Section<'t>> {
        let place = report.place(value.span().start);
        let toml::de::DeValue::Table(table) = value.get_ref() else {
            report.add(place, entry, "", format!("is {}, not a table", kind(value)));
            return None;
        };
        Some(Section::of_table(report, entry, place, table, known))
    }

    /// The same for a table that is at hand already, such as the whole file.
    pub(crate) fn of_table(
        report: &mut Report<'_>,
        entry: &str,
        place: Place,
        table: &'t toml::de::DeTable<'t>,
        known: &[&str],
    ) -> Section<'t> {
        for key in table.keys().filter(|key| !known.contains(&key.get_ref().as_ref())) {
            let place = report.place(key.span().start);
            let proposal = match nearest(key.get_ref(), known.iter().copied()) {
                Some(name) => format!("the nearest known key is {name}"),
                None => format!("the known keys are {}", known.join(", ")),
            };
            report.add(place, entry, key.get_ref(), format!("unknown key; {proposal}"));
        }
        Section { entry: entry.to_owned(), place, table }
    }

    pub(crate) fn get(&self, key: &str) -> Option<&'t Value<'t>> {
        self.table.get(key)
    }

    pub(crate) fn text(&self, report: &mut Report<'_>, key: &str) -> Option<Text> {
        self.text_of(report, key, self.get(key)?)
    }

    /// A string or a list of strings.
    pub(crate) fn texts(&self, report: &mut Report<'_>, key: &str) -> Vec<Text> {
        match self.get(key) {
            None => Vec::new(),
            Some(value) => match value.get_ref() {
                toml::de::DeValue::Array(items) => {
                    items.iter().filter_map(|item| self.text_of(report, key, item)).collect()
                }
                _ => self.text_of(report, key, value).into_iter().collect(),
            },
        }
    }

    /// A table of strings, `{ name = "…" }`.
    pub(crate) fn pairs(&self, report: &mut Report<'_>, key: &str) -> Vec<(String, Text)> {
        let Some(value) = self.get(key) else { return Vec::new() };
        let toml::de::DeValue::Table(table) = value.get_ref() else {
            let place = report.place(value.span().start);
            report.add(place, &self.entry, key, format!("is {}; write {{ name = \"expression\" }}", kind(value)));
            return Vec::new();
        };
        let mut pairs: Vec<(String, Text)> = table
            .iter()
            .filter_map(|(name, value)| {
                let text = self.text_of(report, &format!("{key}.{}", name.get_ref()), value)?;
                Some((name.get_ref().to_string(), text))
            })
            .collect();
        // The parser sorts keys by name; the file's own order is what its author expects to read in the SQL.
        pairs.sort_by_key(|(_, text)| text.place);
        pairs
    }

    pub(crate) fn table_name(&self, report: &mut Report<'_>, key: &str) -> Option<TableName> {
        let text = self.text(report, key)?;
        if text.sql.split('.').count() > 2 || text.sql.split('.').any(str::is_empty) || text.sql.contains('"') {
            let message = format!("`{}` is not a table; write table or schema.table, without quotes", text.sql);
            report.add(text.place, &self.entry, key, message);
            return None;
        }
        Some(TableName::new(&text.sql, text.place))
    }

    /// `lookup = [{ alias = "…", table = "…", on = "…" }]`
    pub(crate) fn lookups(&self, report: &mut Report<'_>) -> Vec<Lookup> {
        let Some(value) = self.get("lookup") else { return Vec::new() };
        let toml::de::DeValue::Array(items) = value.get_ref() else {
            let place = report.place(value.span().start);
            report.add(
                place,
                &self.entry,
                "lookup",
                "is not a list; write [{ alias = \"…\", table = \"…\", on = \"…\" }]",
            );
            return Vec::new();
        };
        let mut lookups = Vec::new();
        for item in items.iter() {
            let Some(section) = Section::open(report, &self.entry, item, &["alias", "table", "on"]) else { continue };
            let alias = section.required(report, "alias");
            let table = section.required(report, "table").and(section.table_name(report, "table"));
            let on = section.required(report, "on");
            let (Some(alias), Some(table), Some(on)) = (alias, table, on) else { continue };
            let is_name = alias.sql.starts_with(|first: char| first.is_ascii_lowercase())
                && alias
                    .sql
                    .chars()
                    .all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_');
            if !is_name || ["new", "old", "this", "ladder", "event"].contains(&alias.sql.as_str()) {
                let message = format!(
                    "`{}` cannot be an alias; take a lower-case word other than new, old, this, ladder, event",
                    alias.sql
                );
                report.add(alias.place, &self.entry, "lookup.alias", message);
                continue;
            }
            let on = Text { field: format!("lookup.{}", alias.sql), ..on };
            lookups.push(Lookup { alias: alias.sql, table, on });
        }
        lookups
    }

    pub(crate) fn required(&self, report: &mut Report<'_>, key: &str) -> Option<Text> {
        if self.get(key).is_none() {
            report.add(self.place, &self.entry, key, "is missing");
        }
        self.text(report, key)
    }

    fn text_of(&self, report: &mut Report<'_>, field: &str, value: &Value<'_>) -> Option<Text> {
        let place = report.place(value.span().start);
        match value.get_ref() {
            toml::de::DeValue::String(text) => Some(Text { field: field.to_owned(), sql: text.to_string(), place }),
            _ => {
                report.add(place, &self.entry, field, format!("is {}, not a string", kind(value)));
                None
            }
        }
    }
}

fn kind(value: &Value<'_>) -> &'static str {
    match value.get_ref() {
        toml::de::DeValue::String(_) => "a string",
        toml::de::DeValue::Integer(_) | toml::de::DeValue::Float(_) => "a number",
        toml::de::DeValue::Boolean(_) => "true or false",
        toml::de::DeValue::Datetime(_) => "a time",
        toml::de::DeValue::Array(_) => "a list",
        toml::de::DeValue::Table(_) => "a table",
    }
}
