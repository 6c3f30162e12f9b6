//! Reads quantities with a unit, as people write them: `15s`, `5m`, `32MiB`. In: text from a configuration or from a destination's
//! settings. Out: durations and numbers of bytes.

use std::time::Duration;

use jiff::Span;
use jiff::SpanRelativeTo;
use thiserror::Error;

/// The text is not a quantity.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum QuantityError {
    /// It is not a number with a unit of time.
    #[error("`{0}` is not a duration; write a number and a unit, such as `500ms`, `15s`, `5m`, `2h` or `14d`")]
    NotADuration(String),
    /// It is not a number with a unit of size.
    #[error("`{0}` is not a size; write a number and a unit, such as `512KiB` or `32MiB`")]
    NotASize(String),
}

/// Reads a duration such as `500ms`, `15s`, `5m`, `1h 30m` or `14d`. It is never negative, and a day has 24 hours.
pub fn duration(text: &str) -> Result<Duration, QuantityError> {
    let read = || -> Option<Duration> {
        let span: Span = text.parse().ok()?;
        Duration::try_from(span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?).ok()
    };
    read().ok_or_else(|| QuantityError::NotADuration(text.to_owned()))
}

/// Reads a number of bytes such as `4096`, `512KiB`, `32MiB` or `1GiB`. `KB`, `MB` and `GB` are powers of 1,000.
pub fn bytes(text: &str) -> Result<usize, QuantityError> {
    let refused = || QuantityError::NotASize(text.to_owned());
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: usize = text[..end].parse().map_err(|_| refused())?;
    let unit = match text[end..].trim() {
        "" | "B" => 1,
        "KB" | "kB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(refused()),
    };
    number.checked_mul(unit).ok_or_else(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_their_units() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(duration("24h"), Ok(Duration::from_secs(86_400)));
        assert_eq!(duration("0s"), Ok(Duration::ZERO));
        assert_eq!(duration("14d"), Ok(Duration::from_secs(14 * 86_400)));
        assert_eq!(duration("1h 30m"), Ok(Duration::from_secs(5400)));
    }

    #[test]
    fn what_is_not_a_duration_is_named() {
        for text in ["", "5", "soon", "-5s", "5 parsecs", "1y", "1mo"] {
            assert_eq!(duration(text), Err(QuantityError::NotADuration(text.to_owned())));
        }
    }

    #[test]
    fn sizes_are_read_with_their_units() {
        assert_eq!(bytes("4096"), Ok(4096));
        assert_eq!(bytes("32MiB"), Ok(32 << 20));
        assert_eq!(bytes("1 MB"), Ok(1_000_000));
        for text in ["", "MiB", "-1KiB", "1.5MiB", "1TiB", "99999999999999999999B", "18446744073709551615KiB"] {
            assert_eq!(bytes(text), Err(QuantityError::NotASize(text.to_owned())));
        }
    }
}
