//! Measurements, on throw-away servers. In: what was measured of each variant, round after round. Out: medians, each beside that of the
//! baseline, as a table or as JSON. Absolute figures say more of the machine than of Andon, so that variants take turns within a round and
//! are read as ratios. It never fails because something was slow.

mod capture;
mod daemon;
mod isolation;
mod live;

use std::io::Write as _;

use anyhow::Context as _;
use anyhow::Result;
use serde_json::Value;
use serde_json::json;
use tokio_postgres::Client;
use tokio_postgres::NoTls;

pub use capture::CaptureBench;
pub use capture::capture;
pub use isolation::IsolationBench;
pub use isolation::isolation;
pub use live::LiveBench;
pub use live::live;

/// What was measured of variants that take turns; the first of them is the baseline.
struct Comparison {
    variants: &'static [&'static str],
    rows: Vec<Row>,
}

/// One figure, of each variant, of each round.
struct Row {
    what: String,
    figures: Vec<Vec<f64>>,
}

impl Comparison {
    fn new(variants: &'static [&'static str]) -> Comparison {
        Comparison { variants, rows: Vec::new() }
    }

    /// Takes the figure of a variant in one round.
    fn note(&mut self, what: &str, variant: &str, figure: f64) {
        let column = self.variants.iter().position(|it| *it == variant).expect("a bench names its own variants");
        let row = self.rows.iter().position(|row| row.what == what).unwrap_or_else(|| {
            self.rows.push(Row { what: what.to_owned(), figures: vec![Vec::new(); self.variants.len()] });
            self.rows.len() - 1
        });
        self.rows[row].figures[column].push(figure);
    }

    /// Drops all figures: those of a first round, which is cold.
    fn forget(&mut self) {
        self.rows.clear();
    }

    /// Prints the medians on standard output; `facts` is what else is to be known of the run.
    fn print(&self, bench: &str, as_json: bool, facts: Value) {
        let text = if as_json { self.json(bench, facts).to_string() } else { self.table() };
        // Whoever closed it does not want to read on, which is no fault.
        drop(writeln!(std::io::stdout().lock(), "{text}"));
    }

    fn table(&self) -> String {
        let mut lines = vec![format!("{:<38}", "median of the rounds")];
        for (column, variant) in self.variants.iter().enumerate() {
            lines[0] += &if column == 0 { format!("{variant:>10}") } else { format!("{variant:>12}{:>7}", "ratio") };
        }
        for row in &self.rows {
            let medians: Vec<Option<f64>> = row.figures.iter().map(|figures| median(figures)).collect();
            let mut line = format!("{:<38}", row.what);
            for (column, figure) in medians.iter().enumerate() {
                let text = figure.map_or("-".to_owned(), readable);
                let ratio = ratio(*figure, medians[0]).map_or(String::new(), |ratio| format!("{ratio:.2}"));
                line += &if column == 0 { format!("{text:>10}") } else { format!("{text:>12}{ratio:>7}") };
            }
            lines.push(line.trim_end().to_owned());
        }
        lines.join("\n")
    }

    fn json(&self, bench: &str, facts: Value) -> Value {
        let rows = self.rows.iter().map(|row| {
            let baseline = median(&row.figures[0]);
            let variants = self.variants.iter().zip(&row.figures).map(|(variant, figures)| {
                let figure = median(figures);
                let told = json!({"median": figure, "ratio": ratio(figure, baseline), "rounds": figures});
                ((*variant).to_owned(), told)
            });
            json!({"what": row.what, "variants": Value::Object(variants.collect())})
        });
        json!({"bench": bench, "baseline": self.variants[0], "facts": facts, "rows": rows.collect::<Vec<_>>()})
    }
}

fn median(figures: &[f64]) -> Option<f64> {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied()
}

fn ratio(figure: Option<f64>, baseline: Option<f64>) -> Option<f64> {
    Some(figure? / baseline?)
}

fn readable(figure: f64) -> String {
    if figure < 100.0 { format!("{figure:.2}") } else { format!("{figure:.0}") }
}

async fn connect(url: &str) -> Result<Client> {
    let (client, connection) =
        tokio_postgres::connect(url, NoTls).await.context("cannot reach the rig's PostgreSQL")?;
    tokio::spawn(connection);
    Ok(client)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_stand_beside_the_baselines() {
        let mut comparison = Comparison::new(&["plain", "ours"]);
        comparison.note("events/s", "plain", 7.0);
        comparison.forget();
        for (plain, ours) in [(100.0, 50.0), (300.0, 90.0), (200.0, 150.0)] {
            comparison.note("events/s", "plain", plain);
            comparison.note("events/s", "ours", ours);
        }
        comparison.note("catching up, s", "ours", 1.5);

        insta::assert_snapshot!(comparison.table(), @r"
        median of the rounds                       plain        ours  ratio
        events/s                                     200       90.00   0.45
        catching up, s                                 -        1.50
        ");
        assert_eq!(comparison.json("b", json!({}))["rows"][0]["variants"]["ours"]["ratio"], json!(0.45));
    }
}
