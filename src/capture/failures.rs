//! Reads and writes `andon.capture_errors`, where the triggers record what they could not capture. In: a connection, and a choice of failures.
//! Out: failures, one by one or counted by their reason; and those that were captured again or acknowledged are marked. It is the only
//! writer besides the triggers.

use jiff::Timestamp;
use tokio_postgres::Error;
use tokio_postgres::GenericClient;
use tokio_postgres::Row;

/// How many failures are counted, from the newest.
const COUNTED: i64 = 100_000;
/// What is recorded where events were captured without what a lookup gives.
const OF_A_LOOKUP: &str = "lookup";
/// The source of events that are in the log and cannot be read.
const OF_THE_LOG: &str = "andon.log";
/// A key of so many characters is cut.
pub(super) const LONGEST_KEY: usize = 1000;
/// A failure that nobody has seen to.
const OPEN: &str = "recovered_at is null and acknowledged_at is null";
/// The condition of a [`Choice`], whose parameters are the first five of a statement.
const CHOSEN: &str = "($1::int8[] = '{}' or id = any ($1)) and ($2::text is null or source = $2)
    and ($3::text is null or table_name in ($3, 'public.' || $3))
    and ($4::timestamptz is null or at >= $4) and ($5::timestamptz is null or at < $5)";

/// Which failures somebody means. What is left out chooses all.
#[derive(Debug, Clone, Default)]
pub struct Choice {
    /// Only these.
    pub ids: Vec<i64>,
    /// Only those of this source.
    pub source: Option<String>,
    /// Only those of this table.
    pub table: Option<String>,
    /// Only those of this time or later.
    pub since: Option<Timestamp>,
    /// Only those before this time.
    pub until: Option<Timestamp>,
}

/// All open failures with the same source, table and reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailureGroup {
    /// The source.
    pub source: String,
    /// The table's name in the mapping.
    pub table: String,
    /// The changes that were not captured, such as `insert+update`.
    pub operation: String,
    /// What PostgreSQL said.
    pub reason: String,
    /// How many there are.
    pub count: i64,
    /// When the first was recorded, as people read it.
    pub first: String,
    /// When the last was recorded.
    pub last: String,
    /// How many of them can be captured again: their images are kept, or their keys.
    pub kept: i64,
}

impl FailureGroup {
    /// Returns whether these are events of the log that cannot be read, and no changes.
    pub fn is_of_the_log(&self) -> bool {
        self.source == OF_THE_LOG
    }

    /// Returns whether these are events that lack what a lookup gives, and no changes that were not captured. There is one for each minute.
    pub fn is_of_a_lookup(&self) -> bool {
        self.operation == OF_A_LOOKUP
    }

    /// Returns what to do about it.
    pub fn cure(&self) -> &'static str {
        if self.is_of_the_log() {
            "once you know, run `andon capture acknowledge --source andon.log`"
        } else if self.is_of_a_lookup() {
            "correct the mapping or grant the right, attach, and run `andon capture --again`; it sends no event twice"
        } else if self.kept > 0 {
            "mend the cause, then run `andon capture --again`; `andon capture errors` lists them"
        } else {
            "mend the cause, then run `andon capture acknowledge`; nothing is kept that could be captured again"
        }
    }
}

/// One change that could not be captured.
#[derive(Debug, Clone)]
pub struct Failure {
    /// Its row.
    pub id: i64,
    /// When it was recorded.
    pub at: Timestamp,
    /// The source.
    pub source: String,
    /// The table's name in the mapping.
    pub table: String,
    /// The table or partition, as PostgreSQL knows it whatever it is called.
    pub relation: Option<u32>,
    /// `insert`, `update` or `delete` for a change of a row, and `lookup` for events that lack what a lookup gives.
    pub operation: String,
    /// The row's key.
    pub key: Option<String>,
    /// What PostgreSQL said.
    pub reason: String,
    /// The row after the change, as JSON, as far as it is kept.
    pub new_image: Option<String>,
    /// The row before the change.
    pub old_image: Option<String>,
    /// The columns that an update changed, if that was recorded.
    pub changed: Option<Vec<String>>,
    /// The columns whose values are not kept: they are too large, or have no JSON.
    pub cut: Vec<String>,
    /// `open`, `recovered` or `acknowledged`.
    pub state: String,
}

impl Failure {
    /// Returns whether the event was captured, without what a lookup gives.
    pub fn is_of_a_lookup(&self) -> bool {
        self.operation == OF_A_LOOKUP
    }
}

const COLUMNS: &str =
    "id, at, source, table_name, operation, key, message || ' (' || sqlstate || ')', new_image::text, old_image::text,
    case when recovered_at is not null then 'recovered' when acknowledged_at is not null then 'acknowledged' else 'open' end,
    relation, changed, coalesce(cut, '{}')";

/// Counts the open failures by their reasons, the newest reason first.
pub async fn groups(client: &impl GenericClient) -> Result<Vec<FailureGroup>, Error> {
    let sql = format!(
        "select source, table_name, string_agg(distinct operation, '+'), message || ' (' || sqlstate || ')', sum(times)::int8,
            to_char(min(at), 'YYYY-MM-DD HH24:MI:SS\"Z\"'), to_char(max(coalesce(last_at, at)), 'YYYY-MM-DD HH24:MI:SS\"Z\"'),
            count(*) filter (where new_image is not null or old_image is not null or (key is not null and operation in ('insert', 'update')))
        from (select * from andon.capture_errors where {OPEN} order by id desc limit {COUNTED}) recent
        group by source, table_name, message, sqlstate order by max(id) desc"
    );
    let group = |row: &Row| FailureGroup {
        source: row.get(0),
        table: row.get(1),
        operation: row.get(2),
        reason: row.get(3),
        count: row.get(4),
        first: row.get(5),
        last: row.get(6),
        kept: row.get(7),
    };
    Ok(client.query(&sql, &[]).await?.iter().map(group).collect())
}

/// Returns the id of the newest failure, or 0.
pub async fn newest(client: &impl GenericClient) -> Result<i64, Error> {
    Ok(client.query_one("select coalesce(max(id), 0) from andon.capture_errors", &[]).await?.get(0))
}

/// Lists failures, the newest first; the settled ones too if `all` is true.
pub async fn list(client: &impl GenericClient, choice: &Choice, all: bool, limit: i64) -> Result<Vec<Failure>, Error> {
    let Choice { ids, source, table, since, until } = choice;
    let sql = format!(
        "select {COLUMNS} from andon.capture_errors where {CHOSEN} and ($6 or {OPEN}) order by id desc limit $7"
    );
    let rows = client.query(&sql, &[ids, source, table, since, until, &all, &limit]).await?;
    Ok(rows.iter().map(failure).collect())
}

/// Counts the open failures that the choice leaves out.
pub async fn open_beside(client: &impl GenericClient, choice: &Choice) -> Result<i64, Error> {
    let Choice { ids, source, table, since, until } = choice;
    let sql = format!("select count(*) from andon.capture_errors where {OPEN} and ({CHOSEN}) is not true");
    Ok(client.query_one(&sql, &[ids, source, table, since, until]).await?.get(0))
}

/// Returns the open failures of the choice with ids above `after`, the oldest first, and locks their rows. Those that somebody else has
/// locked are left to him.
pub async fn take(client: &impl GenericClient, choice: &Choice, after: i64, limit: i64) -> Result<Vec<Failure>, Error> {
    let Choice { ids, source, table, since, until } = choice;
    let sql = format!(
        "select {COLUMNS} from andon.capture_errors where {CHOSEN} and {OPEN} and id > $6 order by id limit $7
        for update skip locked"
    );
    let rows = client.query(&sql, &[ids, source, table, since, until, &after, &limit]).await?;
    Ok(rows.iter().map(failure).collect())
}

/// Marks failures as captured again, each with the number of events that were made of it.
pub async fn mark_recovered(client: &impl GenericClient, recovered: &[(i64, i32)]) -> Result<(), Error> {
    let (ids, events): (Vec<i64>, Vec<i32>) = recovered.iter().copied().unzip();
    let sql = "update andon.capture_errors set recovered_at = now(), events = it.events
        from unnest($1::int8[], $2::int4[]) it (failure, events) where id = it.failure";
    client.execute(sql, &[&ids, &events]).await?;
    Ok(())
}

/// Marks the open failures of the choice as known. Returns how many there were.
pub async fn acknowledge(client: &impl GenericClient, choice: &Choice) -> Result<u64, Error> {
    let Choice { ids, source, table, since, until } = choice;
    let sql = format!("update andon.capture_errors set acknowledged_at = now() where {CHOSEN} and {OPEN}");
    client.execute(&sql, &[ids, source, table, since, until]).await
}

/// Removes failures that were settled longer ago than `age`, and the oldest where there are too many. Returns how many of those that were
/// removed nobody had seen to.
pub async fn keep(client: &impl GenericClient, age: std::time::Duration) -> Result<i64, Error> {
    let sql = "select andon.keep_capture_errors($1::float8 * interval '1 second')";
    Ok(client.query_one(sql, &[&age.as_secs_f64()]).await?.get(0))
}

fn failure(row: &Row) -> Failure {
    Failure {
        id: row.get(0),
        at: row.get(1),
        source: row.get(2),
        table: row.get(3),
        operation: row.get(4),
        key: row.get(5),
        reason: row.get(6),
        new_image: row.get(7),
        old_image: row.get(8),
        state: row.get(9),
        relation: row.get(10),
        changed: row.get(11),
        cut: row.get(12),
    }
}
