//! How much one read of many rows may bring. In: a budget in bytes, and how large the rows of earlier reads were. Out: the rows that fit, and
//! how many rows the next read asks for. A row that is larger than the budget comes alone, so that every read makes progress.

use std::pin::pin;

use futures_util::TryStreamExt as _;
use tokio_postgres::Client;
use tokio_postgres::Error;
use tokio_postgres::Row;
use tokio_postgres::Statement;
use tokio_postgres::types::ToSql;

/// How many rows a read asks for. What it asks for beyond its budget is sent in vain, so it asks for no more rows than fit by the size of
/// those that came before. It grows step by step from there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RowLimit {
    most: usize,
    now: usize,
}

/// What one read brought.
#[derive(Debug)]
pub(crate) struct Portion {
    /// The first rows of the answer.
    pub(crate) rows: Vec<Row>,
    /// The bytes of these rows.
    pub(crate) bytes: usize,
    /// The budget was used up before the answer was at its end.
    pub(crate) is_cut: bool,
}

impl RowLimit {
    /// Asks for `first` rows at first, and never for more than `most`.
    pub(crate) fn new(first: usize, most: usize) -> RowLimit {
        RowLimit { most, now: first }
    }

    /// Returns how many rows to ask for.
    pub(crate) fn rows(&self) -> i64 {
        self.now as i64
    }

    /// Returns whether the last rows were so large that fewer are asked for than usual.
    pub(crate) fn is_reduced(&self) -> bool {
        self.now < self.most
    }

    /// Learns from a read of `rows` rows that had `bytes` bytes together.
    pub(crate) fn learn(&mut self, rows: usize, bytes: usize, budget: usize) {
        if let Some(mean) = bytes.checked_div(rows) {
            let fit = budget / mean.max(1);
            self.now = fit.min(self.now.saturating_mul(4)).clamp(1, self.most);
        }
    }
}

/// Reads the first rows of an answer, up to `budget` bytes and at least one. The rest is received and thrown away while the caller goes on.
pub(crate) async fn read(
    client: &Client,
    statement: &Statement,
    parameters: &[&(dyn ToSql + Sync)],
    budget: usize,
) -> Result<Portion, Error> {
    let mut answer = pin!(client.query_raw(statement, parameters.iter().copied()).await?);
    let mut portion = Portion { rows: Vec::new(), bytes: 0, is_cut: false };
    while let Some(row) = answer.try_next().await? {
        let bytes = row.raw_size_bytes();
        if portion.bytes + bytes > budget && !portion.rows.is_empty() {
            portion.is_cut = true;
            break;
        }
        portion.bytes += bytes;
        portion.rows.push(row);
    }
    Ok(portion)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_asks_for_as_many_rows_as_fit_by_the_size_of_the_last_ones() {
        let mut limit = RowLimit::new(1000, 1000);

        limit.learn(1000, 1_000_000, 4 << 20);
        assert_eq!(limit.rows(), 1000, "small rows fit");
        limit.learn(4, 4 << 20, 4 << 20);
        assert_eq!((limit.rows(), limit.is_reduced()), (4, true));
        limit.learn(0, 0, 4 << 20);
        assert_eq!(limit.rows(), 4, "nothing was learnt");
        limit.learn(4, 400, 4 << 20);
        assert_eq!(limit.rows(), 16, "it trusts small rows step by step");
        limit.learn(1, 100 << 20, 4 << 20);
        assert_eq!(limit.rows(), 1, "a read makes progress, however large a row is");
    }
}
