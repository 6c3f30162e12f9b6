//! What a generated function pins, so that no session can change what it does. In: the settings that can change an event of the table, and the
//! schemas of the operators that its expressions need. Out: the `set` clauses of the function. Each costs every statement of the plant one to
//! two microseconds, so a function has those that it needs and no more.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use crate::capture::sql::quote::identifier;
use crate::capture::sql::quote::literal;

/// A setting of a session that can change the text of a value, or whether a condition is true.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Setting {
    /// How dates and times are written, and whether the day or the month comes first when they are read.
    DateStyle,
    /// How intervals are written and read.
    IntervalStyle,
    /// How bytes are written.
    ByteaOutput,
    /// With how many digits binary fractions are written.
    ExtraFloatDigits,
    /// How money is written and read.
    LcMonetary,
    /// The marks of numbers in `to_char`.
    LcNumeric,
    /// The names of days and months in `to_char`.
    LcTime,
    /// How bytes are written in XML.
    XmlBinary,
    /// Whether text is read as a whole XML document.
    XmlOption,
    /// How text is searched in.
    TextSearch,
    /// What abbreviations such as `IST` mean.
    TimeZoneAbbreviations,
    /// Whether `= null` means `is null`.
    TransformNullEquals,
    /// Whether a backslash in a literal is one.
    StandardConformingStrings,
    /// Whether `\'` is a quote.
    BackslashQuote,
    /// Whether `NULL` in the text of an array is one.
    ArrayNulls,
    /// Whether names are written in quotes that need none.
    QuoteAllIdentifiers,
    /// Whether a policy hides rows or makes the statement fail.
    RowSecurity,
}

impl Setting {
    /// All of them: what a function of the plant may depend on.
    pub const ALL: [Setting; 17] = [
        Setting::DateStyle,
        Setting::IntervalStyle,
        Setting::ByteaOutput,
        Setting::ExtraFloatDigits,
        Setting::LcMonetary,
        Setting::LcNumeric,
        Setting::LcTime,
        Setting::XmlBinary,
        Setting::XmlOption,
        Setting::TextSearch,
        Setting::TimeZoneAbbreviations,
        Setting::TransformNullEquals,
        Setting::StandardConformingStrings,
        Setting::BackslashQuote,
        Setting::ArrayNulls,
        Setting::QuoteAllIdentifiers,
        Setting::RowSecurity,
    ];

    /// Returns its name in PostgreSQL.
    pub fn name(self) -> &'static str {
        match self {
            Setting::DateStyle => "DateStyle",
            Setting::IntervalStyle => "IntervalStyle",
            Setting::ByteaOutput => "bytea_output",
            Setting::ExtraFloatDigits => "extra_float_digits",
            Setting::LcMonetary => "lc_monetary",
            Setting::LcNumeric => "lc_numeric",
            Setting::LcTime => "lc_time",
            Setting::XmlBinary => "xmlbinary",
            Setting::XmlOption => "xmloption",
            Setting::TextSearch => "default_text_search_config",
            Setting::TimeZoneAbbreviations => "timezone_abbreviations",
            Setting::TransformNullEquals => "transform_null_equals",
            Setting::StandardConformingStrings => "standard_conforming_strings",
            Setting::BackslashQuote => "backslash_quote",
            Setting::ArrayNulls => "array_nulls",
            Setting::QuoteAllIdentifiers => "quote_all_identifiers",
            Setting::RowSecurity => "row_security",
        }
    }

    /// Returns the value that is pinned. Where the meaning of the plant's own texts depends on it, that is what the database has by
    /// default: to read 3/4 the other way round, or an amount in another currency, would be worse than another form.
    pub fn value(self, default: &str) -> String {
        let fixed = match self {
            Setting::DateStyle => {
                let order = default.rsplit(',').next().unwrap_or_default().trim();
                return format!("ISO, {}", if ["DMY", "MDY", "YMD"].contains(&order) { order } else { "MDY" });
            }
            Setting::LcMonetary
            | Setting::LcNumeric
            | Setting::LcTime
            | Setting::TextSearch
            | Setting::TimeZoneAbbreviations => default,
            Setting::IntervalStyle => "postgres",
            Setting::ByteaOutput => "hex",
            Setting::ExtraFloatDigits => "1",
            Setting::XmlBinary => "base64",
            Setting::XmlOption => "content",
            Setting::BackslashQuote => "safe_encoding",
            Setting::StandardConformingStrings | Setting::ArrayNulls | Setting::RowSecurity => "on",
            Setting::TransformNullEquals | Setting::QuoteAllIdentifiers => "off",
        };
        fixed.to_owned()
    }
}

/// What the function of a table pins beside what every one does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pins {
    /// The settings, with their values.
    pub settings: BTreeMap<Setting, String>,
    /// The schemas whose operators count.
    pub schemas: BTreeSet<String>,
}

impl Pins {
    /// Takes over what another one pins.
    pub fn add(&mut self, other: &Pins) {
        self.settings.extend(other.settings.iter().map(|(setting, value)| (*setting, value.clone())));
        self.schemas.extend(other.schemas.iter().cloned());
    }

    /// Returns the search path. Nobody can slip in a function or a table: what PostgreSQL itself has comes first, and temporary objects last.
    pub fn search_path(&self) -> String {
        let schemas: String = self.schemas.iter().map(|schema| format!("{}, ", identifier(schema))).collect();
        format!("pg_catalog, {schemas}pg_temp")
    }

    /// Returns the clauses. The time zone is pinned so that the same row gives the same event whoever changes it. JIT is off because a
    /// session keeps the plan of its first statement: after a large one, PostgreSQL would compile for every single row.
    pub fn clauses(&self) -> String {
        let pinned = self.settings.iter().map(|(setting, value)| assignment(*setting, value));
        let always = format!("search_path = {} set timezone = 'UTC' set jit = off", self.search_path());
        let clauses: Vec<String> = std::iter::once(always).chain(pinned).map(|it| format!("set {it}")).collect();
        clauses.join(" ")
    }

    /// Returns the statements that give a transaction the same settings, as far as they can change what an expression means.
    pub fn statements(&self) -> String {
        let pinned: String = self
            .settings
            .iter()
            .map(|(setting, value)| format!("set local {}; ", assignment(*setting, value)))
            .collect();
        format!("set local search_path = {}; {pinned}", self.search_path())
    }
}

fn assignment(setting: Setting, value: &str) -> String {
    format!("{} = {}", setting.name(), literal(value).trim_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_that_needs_nothing_has_the_three_clauses_of_every_function() {
        assert_eq!(
            Pins::default().clauses(),
            "set search_path = pg_catalog, pg_temp set timezone = 'UTC' set jit = off"
        );
    }

    #[test]
    fn what_is_needed_is_added() {
        let mut pins = Pins { schemas: BTreeSet::from(["Ext".to_owned()]), ..Pins::default() };
        pins.add(&Pins {
            settings: BTreeMap::from([(Setting::DateStyle, Setting::DateStyle.value("SQL, DMY"))]),
            ..Pins::default()
        });

        assert_eq!(
            pins.clauses(),
            "set search_path = pg_catalog, \"Ext\", pg_temp set timezone = 'UTC' set jit = off set DateStyle = 'ISO, DMY'"
        );
    }
}
