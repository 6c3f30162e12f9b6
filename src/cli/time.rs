//! Points in time, as people write them: `2026-11-20T06:00:00Z`, or `2h` ago. In: text and the time it is. Out: a time. It never asks a
//! clock.

use jiff::Timestamp;

use crate::quantity;

/// Reads a time, or how long ago it is.
pub(super) fn parse(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    let text = text.trim();
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    let ago = text.strip_suffix("ago").unwrap_or(text).trim_end();
    quantity::duration(ago)
        .ok()
        .and_then(|duration| now.checked_sub(duration).ok())
        .ok_or_else(|| format!("`{text}` is no time; write 2026-11-20T06:00:00Z, or how long ago: 2h, 3d"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_out_or_told_by_how_long_ago_it_is() {
        let now: Timestamp = "2026-11-20T06:00:00Z".parse().unwrap();
        let read = |text: &str| parse(text, now).map(|time| time.to_string());

        assert_eq!(read("2026-11-19T23:30:00+01:00").as_deref(), Ok("2026-11-19T22:30:00Z"));
        for text in ["90m", "90m ago", "1h 30m", " 1h 30m ago "] {
            assert_eq!(read(text).as_deref(), Ok("2026-11-20T04:30:00Z"), "{text}");
        }
        assert_eq!(read("14d").as_deref(), Ok("2026-11-06T06:00:00Z"));
        for text in ["", "yesterday", "2026-11-20", "ago", "-2h"] {
            assert!(read(text).unwrap_err().contains("is no time"), "{text}");
        }
    }
}
