//! The time that processors worked for a process and its children. In: a process id. Out: seconds, of those that ended as well. It knows no
//! grandchildren: the programs of this bench have none that work.

use anyhow::Context as _;
use anyhow::Result;

/// In seconds, of the process and of all children that it has or had.
pub(super) fn of_family(pid: i32) -> Result<f64> {
    let path = format!("/proc/{pid}/stat");
    let parent = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}: the process ended"))?;
    let parent = Times::read(&parent).context("the kernel tells no times")?;
    let mut ticks = parent.own + parent.of_ended_children;
    for entry in std::fs::read_dir("/proc").context("cannot read /proc")?.flatten() {
        // Most entries are no processes, and a process may end while it is looked at.
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        ticks += Times::read(&stat).filter(|child| child.parent == pid).map_or(0, |child| child.own);
    }
    // The kernel tells hundredths of a second, whatever its own clock does.
    Ok(ticks as f64 / 100.0)
}

/// Of a line of `/proc/PID/stat`, in ticks.
#[derive(Debug, PartialEq)]
struct Times {
    parent: i32,
    own: u64,
    of_ended_children: u64,
}

impl Times {
    fn read(stat: &str) -> Option<Times> {
        // The name may hold anything, blanks included; it ends with the last parenthesis. After it: state, parent, ...
        let (_, fields) = stat.rsplit_once(") ")?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let number = |place: usize| fields.get(place)?.parse::<u64>().ok();
        Some(Times {
            parent: fields.get(1)?.parse().ok()?,
            own: number(11)? + number(12)?,
            of_ended_children: number(13)? + number(14)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_any_name() {
        let stat = "42 (a) b (c) S 7 42 42 0 -1 4194560 800 0 0 0 120 30 5 1 20 0 1 0 100 0 0";

        assert_eq!(Times::read(stat), Some(Times { parent: 7, own: 150, of_ended_children: 6 }));
        assert_eq!(Times::read("42 (gone)"), None);
    }

    #[test]
    fn a_child_that_ended_is_counted() {
        let before = of_family(std::process::id() as i32).unwrap();

        let command = "i=0; while [ $i -lt 200000 ]; do i=$((i + 1)); done";
        std::process::Command::new("/bin/sh").args(["-c", command]).status().unwrap();

        assert!(of_family(std::process::id() as i32).unwrap() > before);
    }
}
