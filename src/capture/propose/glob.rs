//! Compares the names of tables with patterns such as `prod_*`. In: a pattern and a name. Out: whether they match, whatever their case.

/// Returns whether the pattern stands for the table: `*` for any letters and `?` for one, with the schema or without.
pub(super) fn matches(pattern: &str, schema: &str, table: &str) -> bool {
    let pattern: Vec<char> = pattern.to_lowercase().chars().collect();
    let is_match = |name: &str| matches_name(&pattern, &name.to_lowercase().chars().collect::<Vec<char>>());
    is_match(table) || is_match(&format!("{schema}.{table}"))
}

fn matches_name(pattern: &[char], name: &[char]) -> bool {
    // Where the last star stands, and how far the name was then: a mismatch goes back there, and lets the star take a letter more.
    let (mut at, mut in_name, mut star) = (0, 0, None);
    while in_name < name.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, in_name));
                at += 1;
            }
            Some(letter) if *letter == '?' || *letter == name[in_name] => {
                at += 1;
                in_name += 1;
            }
            _ => {
                let Some((star_at, taken)) = star else { return false };
                star = Some((star_at, taken + 1));
                at = star_at + 1;
                in_name = taken + 1;
            }
        }
    }
    pattern[at..].iter().all(|letter| *letter == '*')
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_pattern_stands_for_names_with_and_without_their_schema() {
        for pattern in ["*", "work_orders", "Work*", "*order?", "mes.*", "mes.work_orders", "w*k*s", "**"] {
            assert!(matches(pattern, "mes", "work_orders"), "{pattern}");
        }
        for pattern in ["", "work", "order*", "public.*", "work_orders?", "?"] {
            assert!(!matches(pattern, "mes", "work_orders"), "{pattern}");
        }
    }
}
