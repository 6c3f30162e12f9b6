//! Durations as people write them on the command line: `15s`, `1m30s`. In: text. Out: a duration, or what to write instead.

use std::time::Duration;

use jiff::Span;
use jiff::SpanRelativeTo;

/// Reads a duration, which is never negative. A day has 24 hours.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let read = || -> Option<Duration> {
        let span: Span = text.parse().ok()?;
        Duration::try_from(span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?).ok()
    };
    read().ok_or_else(|| format!("`{text}` is not a duration; write a number and a unit, such as `15s`, `5m` or `2h`"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::parse;

    #[test]
    fn a_duration_has_a_unit_and_no_sign() {
        assert_eq!(parse("1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse("2d"), Ok(Duration::from_secs(2 * 86_400)));
        for text in ["", "5", "soon", "-5s"] {
            assert!(parse(text).unwrap_err().contains("write a number and a unit"), "{text}");
        }
    }
}
