//! Reads just enough of a mapping's SQL to know which rows it names. In: an expression. Out: its words, whether it mentions a row, and
//! what is not allowed in it. It never judges whether the SQL is right: the database does, in the check.

/// Whether the expression reads a column of `row`.
pub fn mentions(sql: &str, row: &str) -> bool {
    words(sql).iter().any(|word| word.is_row(row))
}

/// What a mapping's expression may not contain, if it contains it. `rows` are the rows in reach.
pub fn refused<'a>(sql: &str, rows: impl IntoIterator<Item = &'a str>) -> Option<String> {
    if sql.trim().is_empty() {
        return Some("is empty; give an SQL expression or leave the key out".to_owned());
    }
    if sql.contains("$andon$") {
        return Some("contains $andon$, which ends the generated function".to_owned());
    }
    if without_literals(sql).contains("--") || without_literals(sql).contains("/*") {
        return Some("contains an SQL comment; write it as a TOML comment above the line".to_owned());
    }
    let words = words(sql);
    for row in rows {
        if words.iter().any(|word| word.is_row(row) && !word.takes_column) {
            return Some(format!("hands out the whole row `{row}`; name the columns that may leave the database"));
        }
    }
    None
}

struct Word {
    text: String,
    /// `row.column`, and not `row` alone or `row.*`.
    takes_column: bool,
    /// Itself a column: it follows a dot.
    is_column: bool,
}

impl Word {
    fn is_row(&self, row: &str) -> bool {
        self.text == row && !self.is_column
    }
}

/// The identifiers outside of literals; unquoted ones in lower case, as PostgreSQL sees them.
fn words(sql: &str) -> Vec<Word> {
    let sql: Vec<char> = without_literals(sql).chars().collect();
    let mut words = Vec::new();
    let mut at = 0;
    while at < sql.len() {
        let start = at;
        let is_quoted = sql[at] == '"';
        if is_quoted {
            at += 1;
            while at < sql.len() && sql[at] != '"' {
                at += 1;
            }
            at += 1;
        } else {
            while at < sql.len() && (sql[at].is_alphanumeric() || sql[at] == '_' || sql[at] == '$') {
                at += 1;
            }
        }
        if at == start {
            at += 1;
            continue;
        }
        let text: String = sql[start..at.min(sql.len())].iter().filter(|letter| **letter != '"').collect();
        let mut after = sql[at.min(sql.len())..].iter().filter(|letter| !letter.is_whitespace());
        let takes_column = after.next() == Some(&'.') && after.next() != Some(&'*');
        let is_column = sql[..start].iter().rfind(|letter| !letter.is_whitespace()) == Some(&'.');
        words.push(Word { text: if is_quoted { text } else { text.to_lowercase() }, takes_column, is_column });
    }
    words
}

/// The expression with the insides of its string literals taken out.
fn without_literals(sql: &str) -> String {
    let mut is_inside = false;
    let mut rest = String::with_capacity(sql.len());
    for letter in sql.chars() {
        if letter == '\'' {
            is_inside = !is_inside;
        }
        if !is_inside {
            rest.push(letter);
        }
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::{mentions, refused};

    #[test]
    fn a_row_is_mentioned_by_name_and_not_by_resemblance() {
        assert!(mentions("coalesce(NEW.id, 1)", "new"));
        assert!(mentions("cell . name", "cell"));
        assert!(!mentions("new.cell", "cell"));
        assert!(!mentions("'cell.name'", "cell"));
        assert!(!mentions("cells.name", "cell"));
    }

    #[test]
    fn whole_rows_are_refused() {
        for sql in ["to_jsonb(new)", "row_to_json( new )", "(new.*)::text", "jsonb_build_object('x', new)"] {
            assert!(refused(sql, ["new", "old"]).unwrap().contains("whole row"), "{sql}");
        }
        assert_eq!(refused("new.id::text || ' new '", ["new", "old"]), None);
    }

    #[test]
    fn what_would_break_the_generated_function_is_refused() {
        assert!(refused("new.id -- the key", ["new"]).unwrap().contains("comment"));
        assert!(refused("$andon$", ["new"]).is_some());
        assert!(refused("  ", ["new"]).is_some());
        assert_eq!(refused("'a -- b'", ["new"]), None);
    }
}
