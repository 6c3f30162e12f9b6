//! Tells of changes that could not be captured. In: `andon.capture_errors`. Out: one ERROR for each source, table and reason, and from then on
//! counts. Several daemons tell the same, each in its own log.

use std::collections::HashMap;
use std::collections::HashSet;
use std::time::Duration;

use deadpool_postgres::Pool;

use crate::capture::failures;
use crate::capture::failures::FailureGroup;

/// How often it is looked whether there is a new failure.
const LOOK: Duration = Duration::from_secs(2);
/// How many looks later all are counted in any case: a failure of a long transaction may have a lower id than one that was seen.
const LOOKS: u32 = 30;
/// How many reasons are told of one table of a source. A plant has some; a function of its own may make up one for each row, and the log shall not
/// have a line for each.
const MOST: usize = 20;

/// Looks for failures, forever.
pub(super) async fn run(pool: &Pool) {
    let mut told = Told::default();
    let (mut newest, mut looks) = (-1, 0);
    let mut clock = tokio::time::interval(LOOK);
    loop {
        clock.tick().await;
        looks += 1;
        // Where the database is away, others say so; where a right is missing, `andon check` does.
        let Ok(client) = pool.get().await else { continue };
        let Ok(id) = failures::newest(&**client).await else { continue };
        if id == newest && looks < LOOKS {
            continue;
        }
        let Ok(groups) = failures::groups(&**client).await else { continue };
        let is_minute = looks >= LOOKS;
        if is_minute {
            looks = 0;
        }
        newest = id;
        for group in told.news(groups, is_minute) {
            let (is_of_a_lookup, advice) = (group.is_of_a_lookup(), group.cure());
            let FailureGroup { source, table, operation, reason, count, .. } = group;
            if is_of_a_lookup {
                tracing::error!(source, table, reason, advice, "events are captured without what a lookup gives");
                continue;
            }
            tracing::error!(source, table, operation, reason, count, advice, "changes could not be captured");
        }
    }
}

/// What was told.
#[derive(Debug, Default)]
struct Told {
    /// How many failures of each reason, by source and table.
    counts: HashMap<(String, String, String), i64>,
    /// The sources and tables that have more reasons than are told.
    crowded: HashSet<(String, String)>,
}

impl Told {
    /// Returns the groups that are to be told now: a new reason at once, and a count that has grown once a minute.
    fn news(&mut self, groups: Vec<FailureGroup>, is_minute: bool) -> Vec<FailureGroup> {
        let key = |group: &FailureGroup| (group.source.clone(), group.table.clone(), group.reason.clone());
        // What was seen to is told again if it comes back.
        let open: Vec<_> = groups.iter().map(key).collect();
        self.counts.retain(|known, _| open.contains(known));
        self.crowded
            .retain(|(source, table)| open.iter().filter(|it| (&it.0, &it.1) == (source, table)).count() > MOST);
        let mut news = Vec::new();
        for mut group in groups {
            // An event of the log that cannot be read is told where it is set aside.
            let known = self.counts.get(&key(&group)).copied();
            let is_news = match known {
                None if self.is_full(&group) => {
                    if !group.is_of_the_log() && self.crowded.insert((group.source.clone(), group.table.clone())) {
                        group.reason = format!(
                            "{}; other reasons are not told here, `andon capture errors` lists them",
                            group.reason
                        );
                        news.push(group);
                    }
                    continue;
                }
                None => true,
                Some(count) => is_minute && group.count > count && !group.is_of_a_lookup(),
            };
            if is_news && !group.is_of_the_log() {
                self.counts.insert(key(&group), group.count);
                news.push(group);
            }
        }
        news
    }

    /// Returns whether as many reasons of its table are told as there may be.
    fn is_full(&self, group: &FailureGroup) -> bool {
        self.counts.keys().filter(|it| (&it.0, &it.1) == (&group.source, &group.table)).count() >= MOST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(reason: &str, count: i64) -> FailureGroup {
        FailureGroup {
            source: "mes".to_owned(),
            table: "public.jobs".to_owned(),
            operation: "update".to_owned(),
            reason: reason.to_owned(),
            count,
            first: String::new(),
            last: String::new(),
            kept: count,
        }
    }

    #[test]
    fn a_table_that_makes_up_reasons_gets_a_line_for_some_of_them_and_one_for_the_rest() {
        let mut told = Told::default();
        let rows = |count: usize| (0..count).map(|row| group(&format!("row {row}"), 1)).collect::<Vec<_>>();

        let first = told.news(rows(500), false);
        assert_eq!(first.len(), MOST + 1);
        assert!(first[MOST].reason.ends_with("`andon capture errors` lists them"), "{:?}", first[MOST]);
        assert_eq!(told.news(rows(1000), true), [], "it is told once");
        let other = FailureGroup { table: "public.parts".to_owned(), ..group("a", 1) };
        assert_eq!(
            told.news([rows(1000), vec![other.clone()]].concat(), false),
            [other],
            "others are not kept from it"
        );
    }

    #[test]
    fn a_reason_is_told_once_and_then_counted_once_a_minute() {
        let mut told = Told::default();
        let mut counts = |groups: Vec<FailureGroup>, is_minute| -> Vec<(String, i64)> {
            told.news(groups, is_minute).into_iter().map(|it| (it.reason, it.count)).collect()
        };

        assert_eq!(counts(vec![group("a", 1)], false), [("a".to_owned(), 1)]);
        assert_eq!(counts(vec![group("a", 140), group("b", 1)], false), [("b".to_owned(), 1)]);
        assert_eq!(counts(vec![group("a", 140), group("b", 1)], true), [("a".to_owned(), 140)]);
        assert_eq!(counts(vec![group("b", 1)], true), [], "the other was seen to");
        assert_eq!(counts(vec![group("a", 1), group("b", 1)], false), [("a".to_owned(), 1)], "and it came back");
    }
}
