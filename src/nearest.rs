//! Finds the known name that was probably meant by a mistyped one. In: a name, and the names that exist. Out: the closest of them, or none
//! if no name is close enough to be worth proposing. It only proposes and never corrects.

/// Returns the name among `known` that is closest to `wanted`, whatever its case, and the first of them if several are equally close.
pub fn nearest<'a>(wanted: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = wanted.to_lowercase();
    // A third of the letters may be wrong. With more, a proposal would be a guess and would mislead.
    let limit = (wanted.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|name| (cost(&wanted, &name.to_lowercase()), name))
        .filter(|((cost, _), _)| *cost <= limit)
        .min_by_key(|(cost, _)| *cost)
        .map(|(_, name)| name)
}

/// Returns the edit distance, or 1 if one name, of three letters at least, begins or ends the other (`job`/`jobs`, `cell`/`current_cell`).
/// Of such names the one that is closest letter by letter comes first: `joboperations` means `joboperation`, and not `job`.
fn cost(wanted: &str, name: &str) -> (usize, usize) {
    let distance = distance(wanted, name);
    let (short, long) = if wanted.len() < name.len() { (wanted, name) } else { (name, wanted) };
    let is_part = short.len() >= 3 && (long.strip_prefix(short).is_some() || long.strip_suffix(short).is_some());
    (if is_part { distance.min(1) } else { distance }, distance)
}

/// Returns the number of letters to insert, delete, replace or swap with their neighbour to get from one text to the other.
fn distance(from: &str, to: &str) -> usize {
    let from: Vec<char> = from.chars().collect();
    let to: Vec<char> = to.chars().collect();
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=to.len()).collect();
    for i in 0..from.len() {
        let mut row = vec![i + 1];
        for j in 0..to.len() {
            let replaced = last[j] + usize::from(from[i] != to[j]);
            let mut best = replaced.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && from[i] == to[j - 1] && from[i - 1] == to[j] {
                best = best.min(before_last[j - 1] + 1);
            }
            row.push(best);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[to.len()]
}

#[cfg(test)]
mod tests {
    use super::{distance, nearest};

    #[test]
    fn a_typing_error_finds_the_name_that_was_meant() {
        let known = ["job_number", "customer", "status", "due_date"];

        assert_eq!(nearest("jbo_number", known), Some("job_number"));
        assert_eq!(nearest("Status", known), Some("status"));
        assert_eq!(nearest("staus", known), Some("status"));
    }

    #[test]
    fn a_singular_finds_the_plural_and_a_part_the_whole() {
        assert_eq!(nearest("job", ["parts", "jobs"]), Some("jobs"));
        assert_eq!(nearest("cell_id", ["id", "current_cell_id"]), Some("current_cell_id"));
    }

    #[test]
    fn the_same_name_in_another_case_is_nearer_than_a_part_of_it() {
        assert_eq!(nearest("joboperation", ["job", "jobOperation"]), Some("jobOperation"));
        assert_eq!(nearest("JOBOPERATOIN", ["job", "operation", "jobOperation"]), Some("jobOperation"));
    }

    #[test]
    fn a_name_that_is_nothing_like_the_others_finds_none() {
        assert_eq!(nearest("temperature", ["id", "status"]), None);
        assert_eq!(nearest("x", []), None);
    }

    #[test]
    fn swapped_neighbours_count_once() {
        assert_eq!(distance("jbo", "job"), 1);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
