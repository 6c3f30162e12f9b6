//! The client ids of publishers. In: what a row pins, or the number of a lane that pins nothing. Out: the id with which a lane connects, and whether
//! a row may pin an id: one that Andon may make up for another connection would end that connection, because a broker ends the older of two with
//! one id.

/// What the check adds to the id with which it connects beside a lane.
pub const OF_CHECK: &str = "-check";
/// What stands between a publisher's id and the number of a replay in the id of the replay.
const OF_REPLAY: &str = "-replay-";
const MADE_UP: &str = "andon";
const DIGITS: usize = 16;

/// Makes up the id of a lane whose row pins none.
pub fn made_up(number: u64) -> String {
    format!("{MADE_UP}{number:0DIGITS$x}")
}

/// Returns the id of a replay to the publisher with this one.
pub fn of_replay(id: &str, replay: i64) -> String {
    format!("{id}{OF_REPLAY}{replay}")
}

/// Returns why no row may pin this id, if that is so.
pub(super) fn refusal(id: &str) -> Option<&'static str> {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if id.rsplit_once(OF_REPLAY).is_some_and(|(_, number)| is_number(number)) {
        return Some(
            "a replay of another publisher may have this id; choose one that does not end in -replay- and a number",
        );
    }
    let (digits, rest) = id.strip_prefix(MADE_UP)?.split_at_checked(DIGITS)?;
    let is_made_up = digits.bytes().all(|byte| byte.is_ascii_hexdigit()) && matches!(rest, "" | OF_CHECK);
    is_made_up.then_some("Andon makes up such ids for publishers that name none (andon and 16 digits); choose another")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn nobody_pins_what_andon_makes_up(number in any::<u64>(), replay in 0i64.., pinned in "[a-z-]{1,20}") {
            let made_up = made_up(number);
            for id in [of_replay(&made_up, replay), format!("{made_up}{OF_CHECK}"), of_replay(&pinned, replay), made_up] {
                prop_assert!(refusal(&id).is_some(), "{}", id);
            }
        }
    }

    #[test]
    fn what_only_resembles_them_may_be_pinned() {
        for id in [
            "plc",
            "andon",
            "andon-gateway-hall-3",
            "andon0123456789abcde",
            "andon0123456789abcdefg",
            "plc-check",
            "plc-replay-",
            "plc-replay-x",
        ] {
            assert_eq!(refusal(id), None, "{id}");
        }
    }
}
