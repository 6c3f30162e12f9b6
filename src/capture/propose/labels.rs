//! Reads the values that a check constraint allows. In: the constraint, as PostgreSQL prints it. Out: the values, if it lists them
//! (`status in ('open', 'done')`), and nothing if it says anything else.

/// Returns the values that the constraint lists.
pub(crate) fn of(constraint: &str) -> Vec<String> {
    let (rest, literals) = split(constraint);
    let rest = rest.to_lowercase();
    // `in` is printed as `= ANY (ARRAY[…])`. Each of these says something else about the value than which ones there are.
    let says_more = ["<", ">", "~", "!", " not ", " and ", "case ", "length", "upper(", "lower("];
    let lists = rest.contains("= any") && rest.contains("array[") || rest.contains(" = ");
    if !lists || says_more.iter().any(|words| rest.contains(words)) {
        return Vec::new();
    }
    literals
}

/// Returns the text outside of string literals, and the literals.
fn split(constraint: &str) -> (String, Vec<String>) {
    let (mut rest, mut literals) = (String::new(), Vec::new());
    let mut letters = constraint.chars().peekable();
    while let Some(letter) = letters.next() {
        if letter != '\'' {
            rest.push(letter);
            continue;
        }
        let mut literal = String::new();
        while let Some(letter) = letters.next() {
            match letter {
                '\'' if letters.peek() == Some(&'\'') => {
                    letters.next();
                    literal.push('\'');
                }
                '\'' => break,
                other => literal.push(other),
            }
        }
        literals.push(literal);
    }
    (rest.trim_end_matches(" NOT VALID").to_owned(), literals)
}

#[cfg(test)]
mod tests {
    use super::of;

    #[test]
    fn a_constraint_that_lists_values_gives_them_in_order() {
        let of_text = "CHECK ((status = ANY (ARRAY['open'::text, 'it''s done'::text])))";
        let of_varchar =
            "CHECK (((state)::text = ANY ((ARRAY['a'::character varying, 'b'::character varying])::text[]))) NOT VALID";
        let of_one = "CHECK (((kind IS NULL) OR (kind = 'only'::text)))";

        assert_eq!(of(of_text), ["open", "it's done"]);
        assert_eq!(of(of_varchar), ["a", "b"]);
        assert_eq!(of(of_one), ["only"]);
    }

    #[test]
    fn a_constraint_that_says_anything_else_gives_none() {
        for constraint in [
            "CHECK ((status <> 'x'::text))",
            "CHECK ((status ~ '^[a-z]+$'::text))",
            "CHECK ((length(status) = 3))",
            "CHECK ((status <> ALL (ARRAY['a'::text, 'b'::text])))",
            "CHECK ((priority = ANY (ARRAY[1, 2, 3])))",
            "CHECK (((status = 'a'::text) AND is_open))",
        ] {
            assert!(of(constraint).is_empty(), "{constraint}");
        }
    }
}
