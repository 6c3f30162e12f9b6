//! Quotes names and strings for SQL. In: text. Out: the same text, quoted where PostgreSQL requires it. It never asks the database.

/// Returns an identifier: in quotes, unless it is plain lower case and not a reserved word.
pub fn identifier(name: &str) -> String {
    let is_plain = name.starts_with(|first: char| first.is_ascii_lowercase() || first == '_')
        && name.chars().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_');
    if is_plain && !RESERVED.contains(&name) { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

/// Returns a string literal.
pub fn literal(text: &str) -> String {
    let quoted = format!("'{}'", text.replace('\'', "''"));
    if text.contains('\\') { format!(" E{}", quoted.replace('\\', "\\\\")) } else { quoted }
}

/// Returns quotes that the text does not hold: a column of the plant may have any name, and a role too.
pub fn dollar_quote(text: &str) -> String {
    let quotes = (0..).map(|number| if number == 0 { "$andon$".to_owned() } else { format!("$andon{number}$") });
    quotes.into_iter().find(|quote| !text.contains(quote.as_str())).expect("the text is finite")
}

/// The words reserved by PostgreSQL or by PL/pgSQL that people use as names of tables and columns. A name that is missing here shows
/// as a syntax error in the check.
const RESERVED: &[&str] = &[
    "all",
    "analyse",
    "analyze",
    "and",
    "any",
    "array",
    "as",
    "asc",
    "asymmetric",
    "authorization",
    "begin",
    "binary",
    "both",
    "by",
    "case",
    "cast",
    "check",
    "collate",
    "collation",
    "column",
    "concurrently",
    "constraint",
    "create",
    "cross",
    "current_catalog",
    "current_date",
    "current_role",
    "current_schema",
    "current_time",
    "current_timestamp",
    "current_user",
    "declare",
    "default",
    "deferrable",
    "desc",
    "distinct",
    "do",
    "else",
    "end",
    "except",
    "execute",
    "false",
    "fetch",
    "for",
    "foreach",
    "foreign",
    "freeze",
    "from",
    "full",
    "grant",
    "group",
    "having",
    "if",
    "ilike",
    "in",
    "initially",
    "inner",
    "intersect",
    "into",
    "is",
    "isnull",
    "join",
    "lateral",
    "leading",
    "left",
    "like",
    "limit",
    "localtime",
    "localtimestamp",
    "loop",
    "natural",
    "not",
    "notnull",
    "null",
    "offset",
    "on",
    "only",
    "or",
    "order",
    "outer",
    "overlaps",
    "placing",
    "primary",
    "references",
    "returning",
    "right",
    "select",
    "session_user",
    "similar",
    "some",
    "strict",
    "symmetric",
    "table",
    "tablesample",
    "then",
    "to",
    "trailing",
    "true",
    "union",
    "unique",
    "user",
    "using",
    "variadic",
    "verbose",
    "when",
    "where",
    "while",
    "window",
    "with",
];

#[cfg(test)]
mod tests {
    use super::identifier;
    use super::literal;

    #[test]
    fn names_are_quoted_only_where_they_must_be() {
        assert_eq!(identifier("job_number"), "job_number");
        assert_eq!(identifier("Jobs"), "\"Jobs\"");
        assert_eq!(identifier("order"), "\"order\"");
        assert_eq!(identifier("a\"b"), "\"a\"\"b\"");
        assert_eq!(identifier("plant-mes"), "\"plant-mes\"");
    }

    #[test]
    fn literals_survive_quotes_and_backslashes() {
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal("a\\b"), " E'a\\\\b'");
    }
}
