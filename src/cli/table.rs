//! Text in columns, and times as people read them. In: cells, and two times. Out: text. It never asks for the time itself.

use jiff::Timestamp;

/// Lines of cells, each column as wide as its widest cell.
pub(super) fn columns(lines: &[Vec<String>]) -> String {
    let count = lines.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..count).map(|column| width(column).unwrap_or_default()).collect();
    let mut text = String::new();
    for line in lines {
        let cells: Vec<String> = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// A time, to the second, in UTC.
pub(super) fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// How long ago it was, in its two largest units.
pub(super) fn age(now: Timestamp, then: Timestamp) -> String {
    let seconds = now.duration_since(then).as_secs().max(0);
    match (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0, seconds) => format!("{seconds}s"),
        (0, 0, minutes, seconds) => format!("{minutes}m {seconds}s"),
        (0, hours, minutes, _) => format!("{hours}h {minutes}m"),
        (days, hours, ..) => format!("{days}d {hours}h"),
    }
}

/// How long it is to a time; `now` when it has passed.
pub(super) fn until(now: Timestamp, then: Timestamp) -> String {
    if then <= now { "now".to_owned() } else { format!("in {}", age(then, now)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_has_its_two_largest_units_and_is_never_negative() {
        let then = Timestamp::UNIX_EPOCH;
        let ages =
            [-5, 0, 59, 61, 3600, 7_384, 90_000].map(|second| age(Timestamp::from_second(second).unwrap(), then));

        assert_eq!(ages, ["0s", "0s", "59s", "1m 1s", "1h 0m", "2h 3m", "1d 1h"]);
        assert_eq!(until(then, Timestamp::from_second(61).unwrap()), "in 1m 1s");
        assert_eq!(until(Timestamp::from_second(61).unwrap(), then), "now");
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let lines = [["A", "LONG HEAD", "C"], ["ä", "x", ""]].map(|line| line.map(str::to_owned).to_vec());

        assert_eq!(columns(&lines), "A  LONG HEAD  C\nä  x\n");
    }
}
