//! Figures next to their baseline. In: what was measured for each variant, round after round, and the goals. Out: medians, ratios and
//! whether the goals are met, as a table or as JSON. Variants take turns within a round and are read as ratios, because absolute figures
//! say more about the machine than about Andon. It never fails because something was slow.

use std::time::Duration;

use serde_json::Value;
use serde_json::json;

/// The result of a bench.
pub(super) struct Report {
    pub(super) bench: &'static str,
    pub(super) comparison: Comparison,
    /// Other facts about the run.
    pub(super) facts: Value,
}

/// The figures of variants that take turns. The first variant is the baseline.
pub(super) struct Comparison {
    variants: &'static [&'static str],
    rows: Vec<Row>,
    aims: Vec<Aim>,
}

/// One figure for each variant and each round.
struct Row {
    what: String,
    figures: Vec<Vec<f64>>,
}

/// The goal for a figure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Goal {
    /// The ratio to the baseline is at least this.
    AtLeast(f64),
    /// The ratio to the baseline is at most this.
    AtMost(f64),
    /// The figure itself is at most this.
    Within(f64),
}

struct Aim {
    what: String,
    variant: &'static str,
    against: &'static str,
    goal: Goal,
}

impl Comparison {
    pub(super) fn new(variants: &'static [&'static str]) -> Comparison {
        Comparison { variants, rows: Vec::new(), aims: Vec::new() }
    }

    /// Adds the figure of a variant in one round.
    pub(super) fn note(&mut self, what: &str, variant: &str, figure: f64) {
        let column = self.variants.iter().position(|it| *it == variant).expect("a bench names its own variants");
        let row = self.rows.iter().position(|row| row.what == what).unwrap_or_else(|| {
            self.rows.push(Row { what: what.to_owned(), figures: vec![Vec::new(); self.variants.len()] });
            self.rows.len() - 1
        });
        self.rows[row].figures[column].push(figure);
    }

    /// Drops all figures, which is for a first round, because it is cold.
    pub(super) fn forget(&mut self) {
        self.rows.clear();
    }

    /// Sets a goal for a variant's figure in relation to the baseline's.
    pub(super) fn goal(&mut self, what: &str, variant: &'static str, goal: Goal) {
        self.goal_against(what, variant, self.variants[0], goal);
    }

    /// Sets a goal for a variant's figure in relation to another variant's.
    pub(super) fn goal_against(&mut self, what: &str, variant: &'static str, against: &'static str, goal: Goal) {
        self.aims.push(Aim { what: what.to_owned(), variant, against, goal });
    }

    /// Returns the median of each figure that a variant has. Where the variants are amounts, and none of them is that one, it returns those
    /// of all of them.
    pub(super) fn medians(&self, variant: &str) -> Vec<(String, f64)> {
        let is_named = self.variants.contains(&variant);
        let mut medians = Vec::new();
        for row in &self.rows {
            for (name, figures) in
                self.variants.iter().zip(&row.figures).filter(|(name, _)| !is_named || **name == variant)
            {
                let what = if is_named { row.what.clone() } else { format!("{}: {name}", row.what) };
                medians.extend(median(figures).map(|median| (what, median)));
            }
        }
        medians
    }

    /// Makes a table for people, with a line for each figure and each goal.
    pub(super) fn table(&self) -> String {
        let width = self.rows.iter().map(|row| row.what.len()).max().unwrap_or_default().max(36) + 2;
        let mut lines = vec![format!("{:<width$}", "median of the rounds")];
        for (column, variant) in self.variants.iter().enumerate() {
            lines[0] += &if column == 0 { format!("{variant:>10}") } else { format!("{variant:>12}{:>7}", "ratio") };
        }
        for row in &self.rows {
            let medians: Vec<Option<f64>> = row.figures.iter().map(|figures| median(figures)).collect();
            let mut line = format!("{:<width$}", row.what);
            for (column, figure) in medians.iter().enumerate() {
                let text = figure.map_or("-".to_owned(), readable);
                let ratio = ratio(*figure, medians[0]).map_or(String::new(), |ratio| format!("{ratio:.2}"));
                line += &if column == 0 { format!("{text:>10}") } else { format!("{text:>12}{ratio:>7}") };
            }
            lines.push(line.trim_end().to_owned());
        }
        for aim in &self.aims {
            let (what, variant, against) = (&aim.what, aim.variant, aim.against);
            let wanted = match aim.goal {
                Goal::AtLeast(least) => format!("{variant} at least {least} of {against}"),
                Goal::AtMost(most) => format!("{variant} at most {most} of {against}"),
                Goal::Within(most) => format!("{variant} at most {most}"),
            };
            let (figure, is_met) = self.reached(aim);
            let verdict = if is_met { "met" } else { "NOT MET" };
            let figure = figure.map_or("nothing".to_owned(), |figure| format!("{figure:.2}"));
            lines.push(format!("goal: {what}, {wanted}: {figure}, {verdict}"));
        }
        lines.join("\n")
    }

    /// Makes JSON for programs. `facts` are other facts about the run.
    pub(super) fn json(&self, bench: &str, facts: &Value) -> Value {
        let rows = self.rows.iter().map(|row| {
            let baseline = median(&row.figures[0]);
            let variants = self.variants.iter().zip(&row.figures).map(|(variant, figures)| {
                let figure = median(figures);
                let summary = json!({"median": figure, "ratio": ratio(figure, baseline), "rounds": figures});
                ((*variant).to_owned(), summary)
            });
            json!({"what": row.what, "variants": Value::Object(variants.collect())})
        });
        let goals = self.aims.iter().map(|aim| {
            let (kind, wanted) = match aim.goal {
                Goal::AtLeast(least) => ("ratio at least", least),
                Goal::AtMost(most) => ("ratio at most", most),
                Goal::Within(most) => ("at most", most),
            };
            let (figure, is_met) = self.reached(aim);
            json!({"what": aim.what, "variant": aim.variant, "against": aim.against, kind: wanted, "reached": figure, "met": is_met})
        });
        json!({
            "bench": bench, "baseline": self.variants[0], "facts": facts,
            "rows": rows.collect::<Vec<_>>(), "goals": goals.collect::<Vec<_>>(),
        })
    }

    fn reached(&self, aim: &Aim) -> (Option<f64>, bool) {
        let figure = |variant: &str| {
            let column = self.variants.iter().position(|it| *it == variant)?;
            median(&self.rows.iter().find(|row| row.what == aim.what)?.figures[column])
        };
        let (figure, is_met): (_, fn(f64, f64) -> bool) = match aim.goal {
            Goal::AtLeast(_) => (ratio(figure(aim.variant), figure(aim.against)), |reached, least| reached >= least),
            Goal::AtMost(_) => (ratio(figure(aim.variant), figure(aim.against)), |reached, most| reached <= most),
            Goal::Within(_) => (figure(aim.variant), |reached, most| reached <= most),
        };
        let (Goal::AtLeast(wanted) | Goal::AtMost(wanted) | Goal::Within(wanted)) = aim.goal;
        (figure, figure.is_some_and(|figure| is_met(figure, wanted)))
    }
}

/// Returns percentiles of latencies, in milliseconds.
pub(super) fn percentiles<const N: usize>(mut latencies: Vec<Duration>, shares: [f64; N]) -> [f64; N] {
    latencies.sort();
    shares.map(|share| {
        let place = ((latencies.len() as f64 * share).ceil() as usize).saturating_sub(1);
        latencies.get(place).map_or(f64::NAN, |latency| latency.as_secs_f64() * 1e3)
    })
}

fn median(figures: &[f64]) -> Option<f64> {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied()
}

fn ratio(figure: Option<f64>, baseline: Option<f64>) -> Option<f64> {
    // A figure below the resolution of the clock is no baseline.
    Some(figure? / baseline.filter(|baseline| *baseline != 0.0)?)
}

fn readable(figure: f64) -> String {
    if figure < 100.0 { format!("{figure:.2}") } else { format!("{figure:.0}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bench_whose_variants_are_amounts_gives_the_figures_of_all_of_them() {
        let mut comparison = Comparison::new(&["1", "10"]);
        comparison.note("us per event", "1", 5.0);
        comparison.note("us per event", "10", 6.0);

        let all = [("us per event: 1".to_owned(), 5.0), ("us per event: 10".to_owned(), 6.0)];
        assert_eq!(comparison.medians("andon"), all);
        assert_eq!(comparison.medians("10"), [("us per event".to_owned(), 6.0)]);
    }

    #[test]
    fn medians_are_next_to_the_baselines_and_goals_are_below() {
        let mut comparison = Comparison::new(&["plain", "ours"]);
        comparison.note("events/s", "plain", 7.0);
        comparison.forget();
        for (plain, ours) in [(100.0, 50.0), (300.0, 90.0), (200.0, 150.0)] {
            comparison.note("events/s", "plain", plain);
            comparison.note("events/s", "ours", ours);
        }
        comparison.note("catching up, s", "ours", 1.5);
        comparison.goal("events/s", "ours", Goal::AtLeast(0.4));
        comparison.goal("events/s", "ours", Goal::AtMost(0.4));
        comparison.goal("catching up, s", "ours", Goal::Within(2.0));

        insta::assert_snapshot!(comparison.table(), @r"
        median of the rounds                       plain        ours  ratio
        events/s                                     200       90.00   0.45
        catching up, s                                 -        1.50
        goal: events/s, ours at least 0.4 of plain: 0.45, met
        goal: events/s, ours at most 0.4 of plain: 0.45, NOT MET
        goal: catching up, s, ours at most 2: 1.50, met
        ");
        let json = comparison.json("b", &json!({}));
        assert_eq!(json["rows"][0]["variants"]["ours"]["ratio"], json!(0.45));
        assert_eq!(json["goals"][1]["met"], json!(false));
    }
}
