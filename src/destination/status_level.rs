//! The topic level that stands for a publisher in its status topic. In: a name. Out: a level made of ASCII letters, digits, `-` and `_`: some
//! brokers use `.` as a separator of their own. Different names may give the same level. The topics that have such a level belong to Andon:
//! an event that was published there would pass for the status of a publisher.

/// The longest level that a name gives.
const LONGEST: usize = 64;
/// The level of a name in which nothing can be kept.
pub const NAMELESS: &str = "publisher";

/// Makes a level of a name.
pub fn clean(name: &str) -> String {
    let keep = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_') { c } else { '_' };
    let level: String = name.trim().chars().take(LONGEST).map(keep).collect();
    if level.contains(|c: char| c.is_ascii_alphanumeric()) { level } else { NAMELESS.to_owned() }
}

/// Returns the topic at which a broker keeps the status of a publisher.
pub fn topic(gateway: &str, level: &str) -> String {
    format!("andon/{}/{level}/status", clean(gateway))
}

/// Whether a topic is one at which a broker could keep the status of a publisher, of this gateway or of another.
pub fn is_of_a_status(topic: &str) -> bool {
    topic
        .strip_prefix("andon/")
        .and_then(|rest| rest.strip_suffix("/status"))
        .is_some_and(|rest| rest.matches('/').count() == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_holds_only_what_no_broker_takes_for_its_own() {
        for name in ["plant", "Halle 3/Süd", "a.b+c#d$e*f>g", "line-1_x", "\u{0}x"] {
            let level = clean(name);
            assert!(level.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')), "{name}: {level}");
        }
        assert_eq!(clean("Halle 3/Süd"), "Halle_3_S_d");
        assert_eq!(clean(&"x".repeat(70_000)).len(), LONGEST);
    }

    #[test]
    fn a_topic_of_a_status_is_told_from_all_others() {
        assert!(is_of_a_status(&topic("gateway 1", "plant")));
        for other in
            ["andon/site/status", "andon/a/b/c/status", "andon/a/b/state", "acme/a/b/status", "andon/a/b/status/x"]
        {
            assert!(!is_of_a_status(other), "{other}");
        }
    }
}
