//! The schedule by which a failed delivery is tried again. In: how often it was tried, a random number, and what the receiver asked for.
//! Out: how long to wait, or that there is no further attempt. It works on values only: it never looks at a clock, makes up a random
//! number or touches a table.

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::fmt::rfc2822;
use jiff::tz::TimeZone;

use thiserror::Error;

use crate::quantity::QuantityError;
use crate::quantity::duration;

/// A receiver may ask for a pause, but not without a limit.
pub const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// A delivery that waits for longer than this is as good as lost.
const LONGEST_WAIT: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// The most waits of a schedule.
const MOST_WAITS: usize = 1000;

/// The waits make no schedule.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ScheduleError {
    /// One of them is not a duration.
    #[error(transparent)]
    Quantity(#[from] QuantityError),
    /// One of them is too long.
    #[error("`{0}` is longer than 30 days; write a shorter wait")]
    TooLong(String),
    /// There are too many.
    #[error("{0} waits are more than 1000; write fewer")]
    TooMany(usize),
}

/// A wait is stretched at random by up to this share, so that deliveries that failed together are not all tried again together.
const JITTER: f64 = 0.2;

/// The waits between the attempts at one delivery. There is one attempt more than there are waits; after the last one, the delivery is
/// dead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule(Vec<Duration>);

impl Default for Schedule {
    /// Returns the example of the Standard Webhooks specification without its first attempt, which is made at once. It lasts about three
    /// days.
    fn default() -> Schedule {
        let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
        let hours = |hours: u64| minutes(hours * 60);
        Schedule(vec![
            Duration::from_secs(5),
            minutes(5),
            minutes(30),
            hours(2),
            hours(5),
            hours(10),
            hours(14),
            hours(20),
            hours(24),
        ])
    }
}

impl Schedule {
    /// Reads waits such as `["5s", "5m", "2h"]`. With an empty list, each delivery is attempted once.
    pub fn parse<T: AsRef<str>>(waits: &[T]) -> Result<Schedule, ScheduleError> {
        if waits.len() > MOST_WAITS {
            return Err(ScheduleError::TooMany(waits.len()));
        }
        let read = |wait: &T| match duration(wait.as_ref())? {
            wait if wait <= LONGEST_WAIT => Ok(wait),
            _ => Err(ScheduleError::TooLong(wait.as_ref().to_owned())),
        };
        waits.iter().map(read).collect::<Result<_, _>>().map(Schedule)
    }

    /// Returns the waits, in order.
    pub fn waits(&self) -> &[Duration] {
        &self.0
    }

    /// Returns the time from the first attempt to the last if no wait is stretched.
    pub fn total(&self) -> Duration {
        self.0.iter().sum()
    }

    /// Returns how long to wait after the failed attempt number `attempt`, of which the first is 1. `random`, from 0 to 1, stretches the
    /// wait by up to a fifth. Without a wait there is no further attempt, and the delivery is dead.
    pub fn delay(&self, attempt: u32, random: f64) -> Option<Duration> {
        let index = usize::try_from(attempt.saturating_sub(1)).unwrap_or(usize::MAX);
        self.0.get(index).map(|wait| wait.mul_f64(1.0 + JITTER * random.clamp(0.0, 1.0)))
    }

    /// Returns the same wait as [`Schedule::delay`], but at least the one that the receiver asked for with its `Retry-After`.
    pub fn delay_at_least(&self, attempt: u32, random: f64, retry_after: Option<Duration>) -> Option<Duration> {
        self.delay(attempt, random).map(|wait| wait.max(retry_after.unwrap_or_default()))
    }
}

/// Reads a `Retry-After` header, which holds a number of seconds or an HTTP date. The wait is at most [`LONGEST_RETRY_AFTER`]; there is
/// none if the header holds neither. A date in the past asks for a wait of zero.
pub fn retry_after(header: &str, now: Timestamp) -> Option<Duration> {
    let header = header.trim();
    if !header.is_empty() && header.bytes().all(|byte| byte.is_ascii_digit()) {
        // A number with too many digits for a u64 is above the cap anyway.
        let seconds = header.parse().unwrap_or(u64::MAX);
        return Some(Duration::from_secs(seconds).min(LONGEST_RETRY_AFTER));
    }
    let until = http_date(header)?.duration_since(now);
    Some(Duration::try_from(until).unwrap_or_default().min(LONGEST_RETRY_AFTER))
}

/// Reads the form of dates that RFC 9110 prescribes, or one of the two older ones that it wants to be understood. The last hours of the year 9999
/// are no timestamp, and count as the last one: who names them means never.
fn http_date(text: &str) -> Option<Timestamp> {
    const FORMS: [&str; 3] = ["%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"];
    if let Ok(timestamp) = rfc2822::DateTimeParser::new().parse_timestamp(text) {
        return Some(timestamp);
    }
    let civil = FORMS.iter().find_map(|format| DateTime::strptime(format, text).ok())?;
    match civil.to_zoned(TimeZone::UTC) {
        Ok(zoned) => Some(zoned.timestamp()),
        Err(_) => (civil.year() > 0).then_some(Timestamp::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn seconds(seconds: u64) -> Option<Duration> {
        Some(Duration::from_secs(seconds))
    }

    fn now() -> Timestamp {
        "1994-11-06T08:49:07Z".parse().unwrap()
    }

    #[test]
    fn the_default_schedule_gives_nine_waits_and_then_none() {
        let schedule = Schedule::default();

        let waits: Vec<_> = (1..=10).map(|attempt| schedule.delay(attempt, 0.0)).collect();

        let expected = [5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400].map(seconds);
        assert_eq!(waits[..9], expected);
        assert_eq!(waits[9], None);
    }

    #[test]
    fn a_schedule_is_read_from_text() {
        assert_eq!(
            Schedule::parse(&["5s", "5m", "30m", "2h", "5h", "10h", "14h", "20h", "24h"]),
            Ok(Schedule::default())
        );
        assert_eq!(Schedule::parse::<&str>(&[]).map(|none| none.delay(1, 0.5)), Ok(None));
        let soon = QuantityError::NotADuration("soon".to_owned());
        assert_eq!(Schedule::parse(&["5s", "soon"]), Err(ScheduleError::Quantity(soon)));
        let (long, most) = ("290000000000000ms", ["30d"; MOST_WAITS]);
        assert_eq!(Schedule::parse(&[long]), Err(ScheduleError::TooLong(long.to_owned())));
        assert_eq!(Schedule::parse(&most).map(|schedule| schedule.total()), Ok(LONGEST_WAIT * 1000));
        assert_eq!(Schedule::parse(&[most.as_slice(), &["1s"]].concat()), Err(ScheduleError::TooMany(1001)));
    }

    #[test]
    fn retry_after_is_read_as_seconds_or_as_any_form_of_date() {
        assert_eq!(retry_after("120", now()), seconds(120));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:37 GMT", now()), seconds(30));
        assert_eq!(retry_after("Sunday, 06-Nov-94 08:49:37 GMT", now()), seconds(30));
        assert_eq!(retry_after("Sun Nov  6 08:49:37 1994", now()), seconds(30));
    }

    #[test]
    fn retry_after_has_a_cap_and_no_past() {
        assert_eq!(retry_after("99999999999999999999999", now()), Some(LONGEST_RETRY_AFTER));
        assert_eq!(retry_after("Sun, 06 Nov 2094 08:49:37 GMT", now()), None, "the day of the week is wrong");
        assert_eq!(retry_after("Sat, 06 Nov 2094 08:49:37 GMT", now()), Some(LONGEST_RETRY_AFTER));
        for never in ["Fri, 31 Dec 9999 23:59:59 GMT", "Fri Dec 31 23:59:59 9999", "Thu, 30 Dec 9999 23:00:00 GMT"] {
            assert_eq!(retry_after(never, now()), Some(LONGEST_RETRY_AFTER), "{never}");
        }
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:00:00 GMT", now()), Some(Duration::ZERO));
        for nonsense in ["", "-5", "1.5", "soon"] {
            assert_eq!(retry_after(nonsense, now()), None);
        }
    }

    #[test]
    fn the_longer_of_schedule_and_retry_after_counts() {
        let schedule = Schedule::default();

        assert_eq!(schedule.delay_at_least(1, 0.0, seconds(60)), seconds(60));
        assert_eq!(schedule.delay_at_least(2, 0.0, seconds(60)), seconds(300));
        assert_eq!(schedule.delay_at_least(10, 0.0, seconds(60)), None, "asking for a pause gives no further attempt");
    }

    proptest! {
        #[test]
        fn jitter_only_stretches_and_by_a_fifth_at_most(attempt in 1u32..10, random in 0.0f64..1.0) {
            let schedule = Schedule::default();
            let plain = schedule.delay(attempt, 0.0).unwrap();
            let stretched = schedule.delay(attempt, random).unwrap();
            prop_assert!(plain <= stretched && stretched <= plain.mul_f64(1.2));
        }

        #[test]
        fn no_header_makes_it_panic(header in "\\PC*") {
            let _ = retry_after(&header, now());
        }
    }
}
