//! "Did you mean": the known name that is nearest to a mistyped one. In: what was written and the names that exist. Out: one of them, or
//! none where a guess would mislead. It never does I/O.

/// The known name nearest to `wanted`, by edits of single letters (a swap of neighbours counts once); none when it is far from all.
pub fn nearest<'a>(wanted: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted: Vec<char> = wanted.to_lowercase().chars().collect();
    let allowed = (wanted.len() / 3).clamp(1, 3);
    known
        .into_iter()
        .map(|name| (distance(&wanted, &name.to_lowercase().chars().collect::<Vec<_>>()), name))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Optimal string alignment: the number of insertions, deletions, substitutions and swaps of neighbours.
fn distance(left: &[char], right: &[char]) -> usize {
    let mut rows = vec![(0..=right.len()).collect::<Vec<_>>()];
    for i in 1..=left.len() {
        let mut row = vec![i];
        for j in 1..=right.len() {
            let substitution = rows[i - 1][j - 1] + usize::from(left[i - 1] != right[j - 1]);
            let mut best = substitution.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && left[i - 1] == right[j - 2] && left[i - 2] == right[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[left.len()][right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_finds_its_name() {
        let names = ["enterprise", "site", "cell"];
        assert_eq!(nearest("cel", names), Some("cell"));
        assert_eq!(nearest("stie", names), Some("site"));
        assert_eq!(nearest("Enterprize", names), Some("enterprise"));
    }

    #[test]
    fn a_stranger_finds_none() {
        assert_eq!(nearest("temperature", ["enterprise", "site", "cell"]), None);
        assert_eq!(nearest("", ["cell"]), None);
    }
}
