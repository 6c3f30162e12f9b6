//! Tables as plain text. In: lines of cells. Out: text in which each column is as wide as its widest cell.

use crate::legible;

/// A cell that is wider makes its own line longer, and not all the others.
const WIDEST: usize = 200;

/// Lays out the lines in columns, with two spaces between them.
pub(super) fn columns(lines: &[Vec<String>]) -> String {
    let lines: Vec<Vec<String>> =
        lines.iter().map(|line| line.iter().map(|cell| legible::line(cell.clone())).collect()).collect();
    let count = lines.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..count).map(|column| width(column).unwrap_or_default().min(WIDEST)).collect();
    let mut text = String::new();
    for line in &lines {
        let cells: Vec<String> = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let lines = [["A", "LONG HEAD", "C"], ["ä", "x", ""]].map(|line| line.map(str::to_owned).to_vec());

        assert_eq!(columns(&lines), "A  LONG HEAD  C\nä  x\n");
    }

    #[test]
    fn a_cell_beyond_all_measure_is_shown_in_full_and_widens_no_other_line() {
        let long = "x".repeat(70_000);
        let lines = [[long.as_str(), "1"], ["y", "2"]].map(|line| line.map(str::to_owned).to_vec());

        let text = columns(&lines);

        assert_eq!(text, format!("{long}  1\n{:<200}  2\n", "y"));
    }
}
