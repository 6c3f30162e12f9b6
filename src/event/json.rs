//! JSON as PostgreSQL wrote it. In: the text of a `jsonb` column. Out: the same text, and single fields of it. It never builds a tree,
//! never copies what it can borrow, and never checks again what PostgreSQL has checked.

mod items;

use std::borrow::Cow;
use std::error::Error;
use std::fmt;

use bytes::BufMut as _;
use bytes::BytesMut;
use serde_json::value::RawValue;
use tokio_postgres::types::FromSql;
use tokio_postgres::types::IsNull;
use tokio_postgres::types::ToSql;
use tokio_postgres::types::Type;
use tokio_postgres::types::to_sql_checked;

use items::Items;
use items::unquoted;

/// A text that is known to be JSON, without white space around it.
#[derive(Clone, PartialEq, Eq)]
pub struct Json(Box<str>);

/// The byte that precedes the text of a `jsonb` on the wire.
const VERSION: u8 = 1;

impl Json {
    /// Returns the text.
    pub fn get(&self) -> &str {
        &self.0
    }

    /// Returns the fields of an object with these names; of several fields with the same name, the last one. Anything but an object has no
    /// fields.
    pub fn members<'a, const N: usize>(&'a self, names: &[&str; N]) -> [Option<Field<'a>>; N] {
        members(&self.0, names)
    }

    /// Returns the value that a dotted path leads to; the path may lead into arrays too (`order.lines.0`).
    pub fn at<'a>(&'a self, path: &str) -> Option<Field<'a>> {
        path.split('.').try_fold(Field(&self.0), Field::step)
    }
}

impl From<Box<RawValue>> for Json {
    fn from(value: Box<RawValue>) -> Json {
        Json(value.into())
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl<'a> FromSql<'a> for Json {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Json, Box<dyn Error + Sync + Send>> {
        let text = raw.strip_prefix(&[VERSION]).ok_or("this jsonb is of an unknown version")?;
        Ok(Json(std::str::from_utf8(text)?.into()))
    }

    fn accepts(sql_type: &Type) -> bool {
        *sql_type == Type::JSONB
    }
}

impl ToSql for Json {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.put_u8(VERSION);
        out.put_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(sql_type: &Type) -> bool {
        *sql_type == Type::JSONB
    }

    to_sql_checked!();
}

/// One value within a JSON text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'a>(&'a str);

impl<'a> Field<'a> {
    /// Returns it as it stands there.
    pub fn json(self) -> &'a str {
        self.0
    }

    /// Returns its text, if it is a number, a boolean or a string that is not empty.
    pub fn text(self) -> Option<Cow<'a, str>> {
        match self.0.as_bytes().first()? {
            b'"' => Some(unquoted(self.0)?).filter(|text| !text.is_empty()),
            // A number keeps all digits that PostgreSQL gave it, because it may be a serial number.
            b't' | b'f' | b'-' | b'0'..=b'9' => Some(Cow::Borrowed(self.0)),
            _ => None,
        }
    }

    /// Follows one step of a path: into an object by name, or into an array by number.
    fn step(self, step: &str) -> Option<Field<'a>> {
        if self.0.starts_with('[') {
            return Items::of(self.0).nth(step.parse().ok()?).map(|(_, value)| Field(value));
        }
        let [field] = members(self.0, &[step]);
        field
    }
}

fn members<'a, const N: usize>(json: &'a str, names: &[&str; N]) -> [Option<Field<'a>>; N] {
    let mut found = [None; N];
    if json.starts_with('{') {
        for (key, value) in Items::of(json) {
            if let Some(place) = names.iter().position(|name| *name == key) {
                found[place] = Some(Field(value));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests;
