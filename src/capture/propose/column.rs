//! What a column seems to hold. In: a column. Out: whether its values may leave the database without a decision, whether they are text, and
//! which column of a table names its rows.

use crate::capture::expression;
use crate::capture::propose::names::snake;
use crate::capture::propose::names::thing;
use crate::capture::propose::names::words;
use crate::capture::propose::tables::Column;
use crate::capture::propose::tables::ListedTable;
use crate::capture::sql::quote::identifier;

/// Words in the names of columns whose values must not leave the database without a decision: secrets, and what concerns persons.
const PRIVATE: &[&str] = &[
    "password",
    "passwd",
    "pwd",
    "secret",
    "token",
    "hash",
    "salt",
    "pin",
    "key",
    "apikey",
    "credential",
    "credentials",
    "otp",
    "mfa",
    "nonce",
    "cookie",
    "auth",
    "email",
    "mail",
    "phone",
    "mobile",
    "fax",
    "iban",
    "bic",
    "ssn",
    "birth",
    "birthday",
    "salary",
    "wage",
    "bank",
    "cvv",
    "fingerprint",
    "ip",
    "street",
    "address",
    "zip",
    "postcode",
    "firstname",
    "lastname",
    "surname",
    "signature",
];
/// Parts of such names that are written together with others, as in `userpassword`.
const PRIVATE_PARTS: &[&str] = &[
    "password",
    "passwd",
    "secret",
    "token",
    "apikey",
    "credential",
    "privatekey",
    "firstname",
    "lastname",
    "surname",
    "fullname",
];
/// Columns that say nothing about what happened.
const BOOKKEEPING: &[&str] = &[
    "created_at",
    "created_on",
    "created",
    "updated_at",
    "updated_on",
    "modified_at",
    "deleted_at",
    "deleted_on",
    "archived_at",
    "created_by",
    "updated_by",
    "modified_by",
    "deleted_by",
    "created_by_id",
    "updated_by_id",
    "is_deleted",
    "deleted",
    "version",
    "row_version",
    "sort_order",
    "metadata",
    "search_vector",
    "sync_hash",
    "etag",
];
/// Names of the same things.
const SYNONYMS: [&[&str]; 2] = [&["part", "product", "item", "article", "material"], &["job", "order", "workorder"]];
/// Types whose values need no conversion in a payload.
const PLAIN: &[&str] = &[
    "integer",
    "bigint",
    "smallint",
    "numeric",
    "real",
    "double precision",
    "boolean",
    "text",
    "character varying",
    "character",
    "uuid",
    "date",
    "timestamp with time zone",
];

/// Returns whether the column may be part of a payload that nobody has decided about.
pub(super) fn is_public(column: &Column) -> bool {
    (PLAIN.contains(&column.data_type.as_str()) || is_enumerated(column))
        && can_be_read(column)
        && !is_private(&column.name)
        && !BOOKKEEPING.contains(&snake(&column.name).as_str())
}

/// Returns whether an expression can read the column, in a trigger as well.
pub(super) fn can_be_read(column: &Column) -> bool {
    let sql = format!("new.{}", identifier(&column.name));
    !column.is_virtual
        && !["new", "old"].contains(&column.name.as_str())
        && expression::objection(&sql, ["new"]).is_none()
}

/// Returns whether the name says that the value is secret or concerns a person.
pub(super) fn is_private(name: &str) -> bool {
    let words = words(name);
    words.iter().any(|word| PRIVATE.contains(&word.as_str()) || PRIVATE_PARTS.iter().any(|part| word.contains(part)))
        || PRIVATE_PARTS.iter().any(|part| words.concat().contains(part))
}

/// Returns whether the values are words.
pub(super) fn holds_words(column: &Column) -> bool {
    is_enumerated(column) || ["text", "character varying", "character"].contains(&column.data_type.as_str())
}

fn is_enumerated(column: &Column) -> bool {
    !column.labels.is_empty() && !["bytea", "json", "jsonb"].contains(&column.data_type.as_str())
}

/// Returns whether the column holds times that do not say which time zone they are in.
pub(super) fn lacks_zone(column: &Column) -> bool {
    column.data_type == "timestamp without time zone"
        && can_be_read(column)
        && !BOOKKEEPING.contains(&snake(&column.name).as_str())
}

/// Returns the column by which people call the rows of the table: its name, its number or its code.
pub(super) fn label_of(table: &ListedTable) -> Option<&Column> {
    let thing = thing(&table.name);
    let last = thing.rsplit('_').next().unwrap_or_default().to_owned();
    // An item has a part number in one system and a product code in the next.
    let same: &[&str] = SYNONYMS.iter().find(|names| names.contains(&last.as_str())).copied().unwrap_or_default();
    let rank = |column: &Column| {
        let name = snake(&column.name);
        let prefixes = [thing.as_str(), last.as_str()].into_iter().chain(same.iter().copied());
        let own = prefixes.map(|prefix| format!("{prefix}_")).find_map(|prefix| name.strip_prefix(&prefix));
        let own = own.unwrap_or(&name);
        let ends = ["name", "number", "no", "nr", "code", "title", "sku", "label"];
        let place = ends.iter().position(|end| *end == own)?;
        Some(place + if own.len() == name.len() { 0 } else { 1 })
    };
    let can_name = |column: &&Column| {
        can_be_read(column)
            && !is_private(&column.name)
            && (holds_words(column) || ["integer", "bigint"].contains(&column.data_type.as_str()))
    };
    let ranked = table.columns.iter().filter(can_name).filter_map(|column| Some((rank(column)?, column)));
    ranked.min_by_key(|(rank, _)| *rank).map(|(_, column)| column)
}

/// Returns the number or the code of the table's rows: what a person would look for on a topic.
pub(super) fn number_of(table: &ListedTable) -> Option<&Column> {
    let is_number = |column: &&Column| {
        let name = snake(&column.name);
        ["number", "no", "nr", "code", "sku"].contains(&name.rsplit('_').next().unwrap_or_default())
    };
    label_of(&ListedTable { columns: table.columns.iter().filter(is_number).cloned().collect(), ..table.clone() })
        .map(|found| found.name.clone())
        .and_then(|name| table.column(&name))
        .or_else(|| label_of(table))
}

#[cfg(test)]
mod tests {
    use super::is_private;
    use super::label_of;
    use crate::capture::propose::tables::Column;
    use crate::capture::propose::tables::ListedTable;

    #[test]
    fn secrets_are_known_in_every_style() {
        for name in [
            "password",
            "passwordHash",
            "apiKey",
            "API_KEY",
            "key_hash",
            "userpassword",
            "accessToken",
            "Client Secret",
            "e_mail",
            "email",
            "first_name",
            "lastName",
        ] {
            assert!(is_private(name), "{name}");
        }
        for name in ["order_number", "keyboard", "shipping_date", "status", "pinned", "machineName"] {
            assert!(!is_private(name), "{name}");
        }
    }

    #[test]
    fn a_table_is_called_by_its_name_its_number_or_its_code() {
        let table = |name: &str, columns: &[&str]| {
            let column =
                |name: &&str| Column { name: (*name).to_owned(), data_type: "text".to_owned(), ..Column::default() };
            ListedTable {
                name: name.to_owned(),
                columns: columns.iter().map(column).collect(),
                ..ListedTable::default()
            }
        };
        let label = |name: &str, columns: &[&str]| label_of(&table(name, columns)).map(|column| column.name.clone());

        assert_eq!(label("cells", &["id", "code", "name"]).unwrap(), "name");
        assert_eq!(label("workOrders", &["id", "orderNumber", "customerName"]).unwrap(), "orderNumber");
        assert_eq!(label("jobs", &["id", "job_number"]).unwrap(), "job_number");
        assert_eq!(label("secrets", &["id", "hash"]), None);
    }
}
