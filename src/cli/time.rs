//! Times as people write and read them: `2026-11-20T06:00:00Z`, or `2h` for two hours ago. It never asks a clock: each function is given
//! the current time, which is the database's.

use jiff::Timestamp;

use crate::quantity;

/// Reads a time that is written out, or that is given as how long ago it was.
pub(super) fn parse(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    let text = text.trim();
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    let ago = text.strip_suffix("ago").unwrap_or(text).trim_end();
    quantity::duration(ago).ok().and_then(|duration| now.checked_sub(duration).ok()).ok_or_else(|| {
        format!("`{text}` is no time; write 2026-11-20T06:00:00Z, or how long ago it was, such as 2h or 3d")
    })
}

/// Writes a time in UTC, to the second.
pub(super) fn utc(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// Returns how much time has passed since `then`, in the two largest units.
pub(super) fn age(now: Timestamp, then: Timestamp) -> String {
    let seconds = now.duration_since(then).as_secs().max(0);
    match (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0, seconds) => format!("{seconds}s"),
        (0, 0, minutes, seconds) => format!("{minutes}m {seconds}s"),
        (0, hours, minutes, _) => format!("{hours}h {minutes}m"),
        (days, hours, ..) => format!("{days}d {hours}h"),
    }
}

/// Returns how much time is left until `then`, or `now` when it has passed.
pub(super) fn until(now: Timestamp, then: Timestamp) -> String {
    if then <= now { "now".to_owned() } else { format!("in {}", age(then, now)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_out_or_given_as_an_age() {
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

    #[test]
    fn an_age_has_its_two_largest_units_and_is_never_negative() {
        let then = Timestamp::UNIX_EPOCH;
        let ages =
            [-5, 0, 59, 61, 3600, 7_384, 90_000].map(|second| age(Timestamp::from_second(second).unwrap(), then));

        assert_eq!(ages, ["0s", "0s", "59s", "1m 1s", "1h 0m", "2h 3m", "1d 1h"]);
        assert_eq!(until(then, Timestamp::from_second(61).unwrap()), "in 1m 1s");
        assert_eq!(until(Timestamp::from_second(61).unwrap(), then), "now");
    }
}
