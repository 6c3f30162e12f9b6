//! Tells by which settings of a session an expression can be changed. In: the expression, the types of the columns that it can read, and what
//! becomes of its value. Out: settings. A value depends on a setting where it is made text, or made of text; so the words of the expression
//! and the types are enough. What is in doubt, such as a function of the plant, counts as dependent. It asks no database.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio_postgres::types::Kind;
use tokio_postgres::types::Type;

use crate::capture::expression::Word;
use crate::capture::expression::literals;
use crate::capture::expression::without_literals;
use crate::capture::expression::words;
use crate::capture::sql::settings::Setting;

/// The rows that an expression can read: the name of each, and the types of its columns.
pub(crate) type Rows = Vec<(String, Arc<Vec<(String, Type)>>)>;

/// What becomes of the value of an expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// It becomes JSON, in which dates and times have a form of their own.
    Json,
    /// It becomes text.
    Text,
    /// It stays what it is: a condition, or a time.
    Value,
}

/// What is written like a function and is none, and functions whose value no setting changes: they take text or what they return.
const INDEPENDENT: &str = "abs all and any array array_length array_position as ascii avg between bool_and bool_or btrim \
    bit_length cardinality case ceil ceiling char_length character_length chr clock_timestamp coalesce count date_bin date_part date_trunc decode div \
    distinct else encode end exists extract floor from gen_random_uuid greatest ilike in initcap is isempty json_array_length \
    json_extract_path_text jsonb_array_length jsonb_extract_path jsonb_extract_path_text jsonb_typeof least left length like lower lpad \
    ltrim make_date make_timestamp make_timestamptz max md5 min mod not now nullif num_nonnulls num_nulls octet_length on or overlaps overlay \
    position power regexp_match regexp_replace repeat replace reverse right round row rpad rtrim select sha256 sign similar some \
    split_part sqrt starts_with statement_timestamp strpos substr substring sum then timezone transaction_timestamp translate trim \
    trunc unnest upper using values when where";
/// Functions that make text of what they are given, or read it from text.
const CONVERTING: &str = "age array_to_string concat concat_ws format json_build_array json_build_object jsonb_build_array jsonb_build_object \
    justify_days justify_hours justify_interval make_interval quote_ident quote_literal quote_nullable string_agg to_char to_date to_json \
    to_jsonb to_number to_timestamp xmlelement";
/// Types whose values are text, or hold any text.
const TEXTUAL: &str = "text varchar char character bpchar name json jsonb citext unknown";
/// Types of which no setting changes a text.
const PLAIN: &str =
    "bool boolean int int2 int4 int8 integer smallint bigint numeric decimal uuid inet cidr macaddr bit varbit oid";
const ABOUT_TIME: [Type; 5] = [Type::DATE, Type::TIMESTAMP, Type::TIMESTAMPTZ, Type::TIME, Type::TIMETZ];

/// Returns the settings that can change the expression. `result` is its type, if that is known.
pub(crate) fn of_expression(sql: &str, rows: &Rows, used: Use, result: Option<&Type>) -> BTreeSet<Setting> {
    let mut found = Found::default();
    let words = words(sql);
    for (place, word) in words.iter().enumerate() {
        found.word(word, place.checked_sub(1).map(|before| &words[before]), rows);
    }
    let has_digit = |literal: &str| literal.chars().any(|letter| letter.is_ascii_digit());
    found.reads_text |= literals(sql).any(has_digit) && (!found.read.is_empty() || !found.cast.is_empty());
    let code = without_literals(sql).replace("->", "");
    found.makes_text |= code.contains("||") || (used == Use::Text && result.is_none());
    if code.contains('-') && found.read.iter().any(|it| ABOUT_TIME.contains(it)) {
        found.read.push(Type::INTERVAL);
    }
    let mut settings = found.settings();
    match (result, used) {
        (Some(result), Use::Text) => settings.extend(text(result)),
        (Some(result), Use::Json) => settings.extend(json(result)),
        _ => {}
    }
    let plain: String = sql.to_lowercase().split_whitespace().collect();
    if plain.contains("=null") || plain.contains("null=") {
        settings.insert(Setting::TransformNullEquals);
    }
    if literals(sql).any(|literal| literal.contains('{')) {
        settings.insert(Setting::ArrayNulls);
    }
    if sql.contains('\\') {
        settings.extend([Setting::StandardConformingStrings, Setting::BackslashQuote]);
    }
    settings
}

/// Returns the settings that change the text of a value of this type.
pub(crate) fn text(data_type: &Type) -> BTreeSet<Setting> {
    match data_type.kind() {
        Kind::Array(inner) | Kind::Range(inner) | Kind::Multirange(inner) | Kind::Domain(inner) => text(inner),
        Kind::Composite(fields) => fields.iter().flat_map(|field| text(field.type_())).collect(),
        Kind::Simple if data_type.schema() != "pg_catalog" => match data_type.name() {
            "citext" | "hstore" | "ltree" | "lquery" | "ltxtquery" | "isbn" | "ean13" | "semver" => BTreeSet::new(),
            // What it is made of is not known.
            _ => unknown(),
        },
        Kind::Simple | Kind::Pseudo => of_simple(data_type.name()),
        _ => BTreeSet::new(),
    }
}

/// Returns the settings that change a value of this type in JSON, where dates and times are as in ISO 8601 whatever the session says.
fn json(data_type: &Type) -> BTreeSet<Setting> {
    match data_type.kind() {
        Kind::Array(inner) | Kind::Domain(inner) => json(inner),
        Kind::Composite(fields) => fields.iter().flat_map(|field| json(field.type_())).collect(),
        _ if ABOUT_TIME.contains(data_type) => BTreeSet::new(),
        _ => text(data_type),
    }
}

/// Returns the schemas of the types that a value of this type consists of and that PostgreSQL does not have by itself: their operators are
/// there as well.
pub(crate) fn schemas(data_type: &Type) -> BTreeSet<String> {
    match data_type.kind() {
        Kind::Array(inner) | Kind::Range(inner) | Kind::Multirange(inner) | Kind::Domain(inner) => schemas(inner),
        Kind::Composite(fields) => fields.iter().flat_map(|field| schemas(field.type_())).collect(),
        Kind::Simple if data_type.schema() != "pg_catalog" => BTreeSet::from([data_type.schema().to_owned()]),
        _ => BTreeSet::new(),
    }
}

/// Returns the types of the columns that the expression reads.
pub(crate) fn columns<'r>(sql: &str, rows: &'r Rows) -> Vec<&'r Type> {
    let words = words(sql);
    let read = words.iter().enumerate().flat_map(|(place, word)| {
        let before = place.checked_sub(1).map(|before| &words[before]);
        read_by(word, before, rows)
    });
    read.collect()
}

/// Returns whether the expression is a column and nothing else, so that no operator has a part in it.
pub(crate) fn is_plain(sql: &str) -> bool {
    words(sql).len() <= 2 && sql.chars().all(|letter| letter.is_alphanumeric() || " _.\"$".contains(letter))
}

fn read_by<'r>(word: &Word, before: Option<&Word>, rows: &'r Rows) -> impl Iterator<Item = &'r Type> {
    let row = before.filter(|_| word.is_column).map(|it| it.text.clone());
    let text = word.text.clone();
    let is_of = move |name: &String| row.as_ref().is_none_or(|row| row == name);
    let columns = rows.iter().filter(move |(name, _)| is_of(name)).flat_map(|(_, columns)| columns.iter());
    columns.filter(move |(column, _)| *column == text).map(|(_, data_type)| data_type)
}

/// What was found in an expression so far.
#[derive(Default)]
struct Found {
    /// The types of the columns that it reads, and of what it computes.
    read: Vec<Type>,
    /// The names of types in it.
    cast: Vec<String>,
    makes_text: bool,
    reads_text: bool,
    /// Whether a value is made one of a type that is not known.
    is_unknown: bool,
    /// Whether a function is called that may do anything.
    is_opaque: bool,
    named: BTreeSet<Setting>,
}

impl Found {
    fn word(&mut self, word: &Word, before: Option<&Word>, rows: &Rows) {
        let is = |list: &str| list.split_whitespace().any(|known| known == word.text);
        let read = self.read.len();
        self.read.extend(read_by(word, before, rows).cloned());
        let is_of_system = before.is_some_and(|it| it.text == "pg_catalog" && !it.is_column);
        let names_type = !of_simple(&word.text).is_empty() || is_known(&word.text);
        let is_type =
            word.is_cast || (word.takes_literal && names_type) || (is_of_system && before.is_some_and(|it| it.is_cast));
        match word.text.as_str() {
            _ if word.is_column && !is_of_system && !word.is_called => {}
            "pg_catalog" if word.takes_column => {}
            // The schema of a type.
            _ if word.is_cast && word.takes_column => self.is_unknown = true,
            "cast" if word.is_called => {}
            _ if is_type && is(TEXTUAL) => self.makes_text = true,
            _ if is_type && is(PLAIN) => {}
            _ if is_type => self.cast.push(word.text.clone()),
            "precision" | "varying" | "without" | "with" | "time" => {}
            "current_date" | "localtime" | "localtimestamp" | "current_time" | "current_timestamp" => {
                self.read.push(Type::TIMESTAMPTZ);
            }
            _ if !word.is_called || (!word.is_column && self.read.len() > read) => {}
            _ if word.is_column && !is_of_system => self.is_opaque = true,
            "now" | "clock_timestamp" | "statement_timestamp" | "transaction_timestamp" => {
                self.read.push(Type::TIMESTAMPTZ);
            }
            "date_trunc" | "date_bin" | "make_date" | "make_timestamp" | "make_timestamptz" => {
                self.read.push(Type::TIMESTAMPTZ);
            }
            "extract" | "date_part" | "sqrt" | "power" | "avg" => self.read.push(Type::FLOAT8),
            _ if is(INDEPENDENT) => {}
            name if is(CONVERTING) => {
                self.makes_text = true;
                match name {
                    "to_char" => self.named.extend([Setting::LcTime, Setting::LcNumeric, Setting::LcMonetary]),
                    "to_number" => self.named.extend([Setting::LcNumeric, Setting::LcMonetary]),
                    "to_date" | "to_timestamp" => self.named.extend([Setting::LcTime]),
                    "xmlelement" => self.named.extend([Setting::XmlBinary]),
                    "format" | "quote_ident" => self.named.extend([Setting::QuoteAllIdentifiers]),
                    "age" | "justify_days" | "justify_hours" | "justify_interval" | "make_interval" => {
                        self.read.push(Type::INTERVAL);
                    }
                    _ => {}
                }
            }
            _ if is(TEXTUAL) => self.makes_text = true,
            _ if is(PLAIN) => {}
            _ => self.is_opaque = true,
        }
    }

    fn settings(mut self) -> BTreeSet<Setting> {
        if self.is_opaque {
            return BTreeSet::from(Setting::ALL);
        }
        let is_text = |it: &Type| text(it).is_empty() && !PLAIN.split(' ').any(|plain| plain == it.name());
        // A cast between times makes no text. One of text, or of what may be text, does.
        if !self.cast.is_empty() && (self.read.is_empty() || self.read.iter().any(is_text)) {
            self.reads_text = true;
        }
        let mut settings = std::mem::take(&mut self.named);
        for name in &self.cast {
            let of_name = of_simple(name);
            if of_name.is_empty() && !is_known(name) {
                self.is_unknown = true;
            }
            if self.reads_text || self.makes_text {
                settings.extend(of_name);
                if ["timestamptz", "timestamp", "timetz"].contains(&name.as_str()) {
                    settings.insert(Setting::TimeZoneAbbreviations);
                }
            }
        }
        if self.is_unknown {
            settings.extend(unknown());
        }
        if self.makes_text {
            settings.extend(self.read.iter().flat_map(text));
        } else if self.reads_text {
            let read = self.read.iter().flat_map(text);
            settings.extend(read.filter(|it| !matches!(it, Setting::ExtraFloatDigits | Setting::ByteaOutput)));
        }
        settings
    }
}

fn of_simple(name: &str) -> BTreeSet<Setting> {
    match name {
        "date" | "timestamp" | "timestamptz" | "abstime" => BTreeSet::from([Setting::DateStyle]),
        "interval" => BTreeSet::from([Setting::IntervalStyle]),
        "bytea" => BTreeSet::from([Setting::ByteaOutput]),
        "money" => BTreeSet::from([Setting::LcMonetary]),
        "xml" => BTreeSet::from([Setting::XmlOption, Setting::XmlBinary]),
        "float4" | "float8" | "float" | "real" | "double" | "point" | "lseg" | "path" | "box" | "polygon" | "line"
        | "circle" => BTreeSet::from([Setting::ExtraFloatDigits]),
        "tsvector" | "tsquery" => BTreeSet::from([Setting::TextSearch]),
        "record" => unknown(),
        name if name.starts_with("reg") => BTreeSet::from([Setting::QuoteAllIdentifiers]),
        _ => BTreeSet::new(),
    }
}

/// Returns whether a name is that of a type of PostgreSQL which no setting changes.
fn is_known(name: &str) -> bool {
    PLAIN.split(' ').chain(TEXTUAL.split(' ')).chain(["time", "timetz"]).any(|known| known == name)
}

/// Returns what can change the text of a type that is not known.
fn unknown() -> BTreeSet<Setting> {
    BTreeSet::from([
        Setting::DateStyle,
        Setting::IntervalStyle,
        Setting::ByteaOutput,
        Setting::ExtraFloatDigits,
        Setting::LcMonetary,
    ])
}

#[cfg(test)]
mod tests;
