//! The report at the end of the demo. In: what was committed, what was received, and the log. Out: lines on standard output, or one line of
//! JSON. The oracle judges.

use std::time::Duration;

use anyhow::Context;
use anyhow::Result;
use serde::Serialize;

use crate::demo::committed::Committed;
use crate::demo::committed::Log;
use crate::demo::narrator::line;
use crate::demo::received::Received;
use rig::oracle::Verdict;

/// The figures at the end.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    captured: u64,
    mqtt: Figures,
    webhook: Figures,
    latency_ms: Latency,
    #[serde(skip)]
    is_clean: bool,
    #[serde(skip)]
    complaints: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Figures {
    expected: u64,
    delivered: u64,
    missing: u64,
    duplicates: u64,
    out_of_order: u64,
}

#[derive(Debug, Serialize)]
struct Latency {
    p50: f64,
    p99: f64,
}

impl Report {
    pub(super) fn new(log: &Log, committed: &Committed, received: &Received) -> Report {
        let (mqtt, webhook) = (log.judge(&received.published()), log.judge(&received.posted()));
        let mut latencies = received.mqtt_latencies();
        latencies.sort();
        let mut complaints = Vec::new();
        if mqtt.phantom + webhook.phantom > 0 {
            complaints.push(format!(
                "{} publishes and {} posts of what was never committed, or at another tenant",
                mqtt.phantom, webhook.phantom
            ));
        }
        if log.captured() != committed.count() {
            complaints.push(format!(
                "{} events were committed, and the log holds {}",
                committed.count(),
                log.captured()
            ));
        }
        complaints.extend(log.capture_error.iter().map(|reason| format!("not everything was captured: {reason}")));
        Report {
            captured: log.captured(),
            is_clean: mqtt.is_clean() && webhook.is_clean() && complaints.is_empty(),
            complaints,
            mqtt: figures(&mqtt),
            webhook: figures(&webhook),
            latency_ms: Latency { p50: percentile(&latencies, 0.50), p99: percentile(&latencies, 0.99) },
        }
    }

    /// Prints the report and returns whether all was well.
    pub(super) fn print(&self, json: bool) -> Result<bool> {
        if json {
            line(&serde_json::to_string(self).context("cannot write the report")?);
        } else {
            line(&format!("\ncaptured  {}", self.captured));
            for (name, way) in [("mqtt", &self.mqtt), ("webhook", &self.webhook)] {
                let Figures { expected, delivered, missing, duplicates, out_of_order } = way;
                line(&format!(
                    "{name:<8}  {delivered} of {expected} delivered, {missing} missing, {out_of_order} out of order, {duplicates} twice"
                ));
            }
            line(&format!("latency   p50 {} ms, p99 {} ms", self.latency_ms.p50, self.latency_ms.p99));
        }
        for complaint in &self.complaints {
            eprintln!("demo: {complaint}");
        }
        Ok(self.is_clean)
    }
}

fn figures(verdict: &Verdict) -> Figures {
    Figures {
        expected: verdict.expected,
        delivered: verdict.delivered,
        missing: verdict.missing,
        duplicates: verdict.duplicates,
        out_of_order: verdict.out_of_order,
    }
}

/// Returns a percentile in milliseconds, to a hundredth, and 0 if nothing was measured.
fn percentile(sorted: &[Duration], share: f64) -> f64 {
    let place = ((sorted.len() as f64 * share).ceil() as usize).saturating_sub(1);
    sorted.get(place).map_or(0.0, |value| (value.as_secs_f64() * 100_000.0).round() / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_what_was_measured() {
        let sorted: Vec<Duration> = (1..=200).map(Duration::from_millis).collect();

        assert_eq!(percentile(&sorted, 0.50).to_string(), "100");
        assert_eq!(percentile(&sorted, 0.99).to_string(), "198");
        assert_eq!(percentile(&[], 0.99).to_string(), "0");
    }
}
