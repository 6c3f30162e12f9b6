//! Reads just enough of a mapping's SQL to know which rows it names. In: an expression. Out: the rows that it mentions, and whether it
//! contains something that no mapping may contain. Whether the SQL is right, only the database can judge, in the check.

use std::collections::HashSet;

/// Returns whether the expression reads a column of `row`.
pub fn mentions(sql: &str, row: &str) -> bool {
    words(sql).iter().any(|word| word.is_row(row))
}

/// Returns the columns that the expression reads of this row, and those that it may read because it names no row with them.
pub fn may_read(sql: &str, row: &str) -> Vec<String> {
    let words = words(sql);
    let is_read = |place: &usize| {
        let word = &words[*place];
        match word.is_column {
            true => *place > 0 && words[*place - 1].is_row(row),
            false => !word.is_called && !word.takes_column && !word.is_cast,
        }
    };
    (0..words.len()).filter(is_read).map(|place| words[place].text.clone()).collect()
}

/// Returns the columns that the expression reads of the changed row, whether or not it names the row, and other words that could be columns.
pub fn columns_read(sql: &str) -> HashSet<String> {
    let words = words(sql);
    let is_read = |place: &usize| {
        let of_the_row = || *place > 0 && ["new", "old", "this"].iter().any(|row| words[*place - 1].is_row(row));
        !words[*place].is_column || of_the_row()
    };
    (0..words.len()).filter(is_read).map(|place| words[place].text.clone()).collect()
}

/// Returns the objection to an expression that contains what no mapping may contain. `rows` are the rows that it can read.
pub fn objection<'a>(sql: &str, rows: impl IntoIterator<Item = &'a str>) -> Option<String> {
    if sql.trim().is_empty() {
        return Some("is empty; give an SQL expression or leave the key out".to_owned());
    }
    if sql.contains("$andon$") {
        return Some("contains $andon$, which ends the generated function".to_owned());
    }
    let bare = without(sql, "'\"");
    if bare.contains("--") || bare.contains("/*") {
        return Some("contains an SQL comment; write it as a TOML comment above the line".to_owned());
    }
    let words = words(sql);
    if words.iter().any(|word| word.is_row("rung") && !word.takes_column) {
        return Some("names a column `rung` without its row, and the generated SQL has one of that name; write the row before it".to_owned());
    }
    for row in rows {
        if words.iter().any(|word| word.is_row(row) && !word.takes_column) {
            return Some(format!("hands out the whole row `{row}`; name the columns that may leave the database"));
        }
    }
    None
}

/// An identifier of an expression, and what stands beside it.
pub(super) struct Word {
    pub(super) text: String,
    /// Whether it is followed by a column, as in `row.column`; `row` alone and `row.*` are not.
    pub(super) takes_column: bool,
    /// Whether it is itself a column, because it follows a dot.
    pub(super) is_column: bool,
    /// Whether a parenthesis follows, as after a function.
    pub(super) is_called: bool,
    /// Whether a literal follows, as after the type in `date '2026-01-01'`.
    pub(super) takes_literal: bool,
    /// Whether it is the type of a cast.
    pub(super) is_cast: bool,
}

impl Word {
    fn is_row(&self, row: &str) -> bool {
        self.text == row && !self.is_column
    }
}

/// Returns the identifiers outside literals. Those without quotes are in lower case, as PostgreSQL sees them.
pub(super) fn words(sql: &str) -> Vec<Word> {
    let sql: Vec<char> = without_literals(sql).chars().collect();
    let mut words = Vec::new();
    let mut at = 0;
    while at < sql.len() {
        let start = at;
        let is_quoted = sql[at] == '"';
        if is_quoted {
            at += 1;
            // Within an identifier, two quotes stand for one.
            while at < sql.len() && (sql[at] != '"' || sql.get(at + 1) == Some(&'"')) {
                at += if sql[at] == '"' { 2 } else { 1 };
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
        let text: String = sql[start..at.min(sql.len())].iter().collect();
        let inner = text.strip_prefix('"').map(|text| text.strip_suffix('"').unwrap_or(text).replace("\"\"", "\""));
        let text = inner.unwrap_or_else(|| text.to_lowercase());
        let mut after = sql[at.min(sql.len())..].iter().filter(|letter| !letter.is_whitespace());
        let next = after.next();
        let (is_called, takes_literal) = (next == Some(&'('), next == Some(&'\''));
        let takes_column = next == Some(&'.') && after.next() != Some(&'*');
        let mut before = sql[..start].iter().rev().filter(|letter| !letter.is_whitespace());
        let last = before.next();
        let is_column = last == Some(&'.');
        let is_cast = last == Some(&':') && before.next() == Some(&':')
            || words.last().is_some_and(|word: &Word| word.text == "as");
        words.push(Word { text, takes_column, is_column, is_called, takes_literal, is_cast });
    }
    words
}

/// Returns the contents of the string literals.
pub(super) fn literals(sql: &str) -> impl Iterator<Item = &str> {
    sql.split('\'').skip(1).step_by(2)
}

/// Returns the expression without the contents of its string literals.
pub(super) fn without_literals(sql: &str) -> String {
    without(sql, "'")
}

/// Returns the expression without what stands between these quotes: `'` for string literals, `"` for identifiers. A quote of one kind within
/// those of the other is a letter.
fn without(sql: &str, quotes: &str) -> String {
    let mut inside: Option<char> = None;
    let mut rest = String::with_capacity(sql.len());
    for letter in sql.chars() {
        match inside {
            None if letter == '\'' || letter == '"' => inside = Some(letter),
            Some(quote) if letter == quote => inside = None,
            _ => {}
        }
        if !inside.is_some_and(|quote| quotes.contains(quote)) {
            rest.push(letter);
        }
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::columns_read;
    use super::mentions;
    use super::objection;

    fn reads_column(sql: &str, column: &str) -> bool {
        columns_read(sql).contains(column)
    }

    #[test]
    fn a_column_of_the_changed_row_is_told_from_that_of_another() {
        assert!(reads_column("coalesce(new.status, 'x')", "status") && reads_column("status = 'done'", "status"));
        assert!(reads_column("this.\"dueDate\"", "dueDate") && reads_column("old . status", "status"));
        assert!(!reads_column("cell.password", "password") && !reads_column("new.status = 'password'", "password"));
    }

    #[test]
    fn quotes_in_the_name_of_a_column_hide_nothing() {
        assert!(reads_column("new.\"it's\"", "it's") && reads_column("this.\"a\"\"b\"", "a\"b"));
        assert!(objection("new.\"it's\" || to_jsonb(new)::text", ["new"]).is_some());
        assert!(objection("new.\"it's\" -- the key", ["new"]).is_some());
        assert_eq!(objection("new.\"a--b\" || 'say \"new\"'", ["new"]), None);
    }

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
            assert!(objection(sql, ["new", "old"]).unwrap().contains("whole row"), "{sql}");
        }
        assert_eq!(objection("new.id::text || ' new '", ["new", "old"]), None);
    }

    #[test]
    fn anything_that_would_break_the_generated_function_is_refused() {
        assert!(objection("new.id -- the key", ["new"]).unwrap().contains("comment"));
        assert!(objection("$andon$", ["new"]).is_some());
        assert!(objection("  ", ["new"]).is_some());
        assert!(objection("rung > 3", ["new"]).is_some() && objection("new.rung > 3", ["new"]).is_none());
        assert_eq!(objection("'a -- b'", ["new"]), None);
    }
}
