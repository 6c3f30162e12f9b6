//! Knows which names an expression gives events, where that can be told from its text. In: the `type_sql` of an entry, and the values of columns.
//! Out: the names. It asks no database.

use crate::capture::mapping::is_event_type;
use crate::capture::mapping::is_reserved;

/// So many names are listed at most.
const MOST: usize = 200;

/// A part of a name that is put together with `||`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// A literal.
    Text(String),
    /// A column of the changed row, as it is or in lower case.
    Column {
        /// Its name.
        name: String,
        /// Whether it is made lower case.
        is_lower: bool,
    },
    /// Whatever else, up to the end.
    Other,
}

/// Returns the parts of an expression such as `'job.' || lower(new.status::text)`.
pub fn parts(sql: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut rest = sql.trim();
    while let Some((part, after)) = part(rest) {
        let after = after.trim_start();
        let next = after.strip_prefix("||");
        if next.is_none() && !after.is_empty() {
            break;
        }
        parts.push(part);
        match next {
            Some(next) => rest = next.trim_start(),
            None => return parts,
        }
    }
    parts.push(Part::Other);
    parts
}

fn part(sql: &str) -> Option<(Part, &str)> {
    if let Some(literal) = sql.strip_prefix('\'') {
        return text(literal);
    }
    let inner = sql.get(..6).filter(|it| it.eq_ignore_ascii_case("lower(")).map(|_| &sql[6..]);
    let (name, rest) = column(inner.unwrap_or(sql).trim_start())?;
    let rest = if inner.is_some() { rest.trim_start().strip_prefix(')')? } else { rest };
    Some((Part::Column { name, is_lower: inner.is_some() }, rest))
}

fn text(literal: &str) -> Option<(Part, &str)> {
    let mut text = String::new();
    let mut rest = literal;
    loop {
        let (before, after) = rest.split_once('\'')?;
        text.push_str(before);
        let Some(more) = after.strip_prefix('\'') else { return Some((Part::Text(text), after)) };
        text.push('\'');
        rest = more;
    }
}

fn column(sql: &str) -> Option<(String, &str)> {
    let is_word = |letter: char| letter.is_alphanumeric() || letter == '_';
    let is_row = |row: &&str| sql.get(..row.len()).is_some_and(|it| it.eq_ignore_ascii_case(row));
    let rest = &sql[["new.", "old.", "this."].into_iter().find(is_row)?.len()..];
    let (name, rest) = match rest.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"').map(|(name, rest)| (name.to_owned(), rest))?,
        None => {
            let end = rest.find(|letter| !is_word(letter)).unwrap_or(rest.len());
            (rest[..end].to_lowercase(), &rest[end..])
        }
    };
    let rest = match rest.trim_start().strip_prefix("::").map(str::trim_start) {
        Some(cast) => cast.strip_prefix("text").filter(|it| !it.starts_with(is_word))?,
        None => rest,
    };
    (!name.is_empty()).then_some((name, rest))
}

/// Returns all names, if the values of each column are known, and there are not too many.
pub fn names(parts: &[Part], values: impl Fn(&str) -> Option<Vec<String>>) -> Option<Vec<String>> {
    let mut names = vec![String::new()];
    for part in parts {
        let endings = match part {
            Part::Text(text) => vec![text.clone()],
            Part::Column { name, is_lower: false } => values(name)?,
            Part::Column { name, is_lower: true } => values(name)?.iter().map(|value| value.to_lowercase()).collect(),
            Part::Other => return None,
        };
        if endings.is_empty() || names.len() * endings.len() > MOST {
            return None;
        }
        names = names.iter().flat_map(|name| endings.iter().map(move |ending| format!("{name}{ending}"))).collect();
    }
    Some(names)
}

/// Returns the type that `andon.event_type` makes of a name: what is no letter of a name becomes an underscore. None can be made of a name
/// with a part that is empty, and none that is Andon's own.
pub fn event_type(name: &str) -> Option<String> {
    let mut made = String::new();
    let mut is_odd = false;
    for letter in name.chars() {
        let is_letter = letter.is_ascii_alphanumeric() || "_-.".contains(letter);
        match is_letter {
            true => made.push(letter),
            false if is_odd => {}
            false => made.push('_'),
        }
        is_odd = !is_letter;
    }
    (is_event_type(&made) && !is_reserved(&made)).then_some(made)
}

/// Returns what is wrong with the names that an expression gives, if anything is.
pub fn objection(names: &[String]) -> Option<String> {
    let none: Vec<String> =
        names.iter().filter(|name| event_type(name).is_none()).map(|name| format!("'{name}'")).collect();
    if let Some(own) = names.iter().find(|name| is_reserved(name)) {
        return Some(format!("gives '{own}', but names that begin with andon are Andon's own; choose another"));
    }
    if !none.is_empty() {
        return Some(format!("gives {}, of which no dotted name such as job.created can be made", none.join(", ")));
    }
    let same = names.iter().enumerate().find_map(|(place, name)| {
        let other = names[..place].iter().find(|other| *other != name && event_type(other) == event_type(name))?;
        Some((other, name))
    });
    let (one, other) = same?;
    let both = event_type(one).unwrap_or_default();
    Some(format!("gives '{one}' and '{other}', which are both the type {both}; tell them apart with `case`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(sql: &str) -> Option<Vec<String>> {
        names(&parts(sql), |column| (column == "status").then(|| vec!["new".to_owned(), "Due Today".to_owned()]))
    }

    #[test]
    fn names_are_told_from_literals_and_columns() {
        assert_eq!(made("'job.' || new.status").unwrap(), ["job.new", "job.Due Today"]);
        assert_eq!(made("'job.'||this.\"status\"::text || '.x'").unwrap(), ["job.new.x", "job.Due Today.x"]);
        assert_eq!(made("'it''s'").unwrap(), ["it's"]);
        assert_eq!(made("'job.' || lower( new.status )").unwrap(), ["job.new", "job.due today"]);
        for unknown in [
            "'job.' || new.kind",
            "'job.' || upper(new.status)",
            "case when true then 'a' end",
            "cell.status",
            "'a' 'b'",
        ] {
            assert_eq!(made(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn what_is_no_letter_of_a_name_becomes_an_underscore() {
        assert_eq!(event_type("job.Due  Today!").unwrap(), "job.Due_Today_");
        assert_eq!(event_type("job.größer").unwrap(), "job.gr_er");
        for name in ["job.", "", ".job", "job..x"] {
            assert_eq!(event_type(name), None, "{name}");
        }
    }

    #[test]
    fn names_that_are_none_or_the_same_are_refused() {
        let of = |names: &[&str]| objection(&names.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>());

        assert_eq!(of(&["job.new", "job.Due Today"]), None);
        assert!(of(&["job.new", "job."]).unwrap().starts_with("gives 'job.', of which"));
        assert!(of(&["job.new", "andon.made"]).unwrap().contains("are Andon's own"));
        assert!(of(&["job.a b", "job.a_b"]).unwrap().contains("both the type job.a_b"));
    }
}
