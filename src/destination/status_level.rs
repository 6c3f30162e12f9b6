//! The topic level that stands for a publisher in its status topic. In: a name. Out: a level made of ASCII letters, digits, `-` and `_`: some
//! brokers use `.` as a separator of their own. Different names may give the same level.

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
}
