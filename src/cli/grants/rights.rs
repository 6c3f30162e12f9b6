//! The rights that a role needs in schema `andon`, as values: for `andon run` with the commands of its operators, and for a dashboard. The
//! command `andon grants` prints them, and the check compares them with what a role has.

/// The rights of one purpose.
pub(in crate::cli) struct Rights {
    /// Each table with the privileges on it; where columns are named, the privileges are on these only.
    pub(in crate::cli) tables: &'static [(&'static str, &'static str, &'static str)],
    /// Each function as the catalogue writes it.
    pub(in crate::cli) functions: &'static [&'static str],
    /// Whether it reads the partitions of the log directly, and the tables of destinations that a source brings.
    pub(in crate::cli) reads_all: bool,
}

/// `andon run`, `check`, `deliveries` and `replay`. It writes no destination, source, migration or event. Changes that could not be captured are
/// recorded without what was kept of the row: from that, `andon capture --again` makes events.
pub(in crate::cli) const RUN: Rights = Rights {
    tables: &[
        ("select", "", "andon.events"),
        ("select", "", "andon.events_id_seq"),
        ("select, update", "", "andon.tail"),
        ("select, insert, update, delete", "", "andon.lanes"),
        ("select, insert, update, delete", "", "andon.broker_names"),
        ("select, delete", "", "andon.deliveries"),
        ("update", "lane, state, attempts, next_attempt_at, reason, replayed", "andon.deliveries"),
        ("select, insert", "", "andon.attempts"),
        ("select, insert, update", "", "andon.replays"),
        ("select, insert, update, delete", "", "andon.daemons"),
        ("select, insert, delete", "", "andon.shared_holes"),
        ("select", "", "andon.turns"),
        ("update", "daemon", "andon.turns"),
        ("select", "", "andon.sources"),
        ("update", "state, reason, checked_at", "andon.sources"),
        ("select", "", "andon.mqtt_publishers"),
        ("select", "", "andon.webhooks"),
        ("select", "", "andon.capture_errors"),
        ("select", "", "andon.lane_status"),
        ("select", "", "andon.migrations"),
    ],
    functions: &[
        "andon.drop_empty_log()",
        "andon.emit_disabled(text)",
        "andon.emit_notified(text,text,text,jsonb,text,text,text,jsonb)",
        "andon.empty_log(regclass,bigint)",
        "andon.extend_log(interval,bigint,bigint)",
        "andon.is_served(uuid)",
        "andon.keep_attempts(interval)",
        "andon.keep_capture_errors(interval)",
        "andon.lives(timestamp with time zone)",
        "andon.log_partitions()",
        "andon.may_notify()",
        "andon.notifications_failed(text,text,text,text,bigint)",
        "andon.notify_deliveries()",
        "andon.notify_destinations()",
        "andon.park(text,bigint[],text[],integer[],double precision[],text[],boolean)",
        "andon.parked_before(text,text,text,bigint)",
        "andon.pending_ids(andon.lanes)",
        "andon.set_aside(bigint,text,text)",
        "andon.trim_log(bigint)",
    ],
    reads_all: true,
};

/// A dashboard. It sees no secret, no address, no payload and no value of a row.
pub(in crate::cli) const READ: Rights = Rights {
    tables: &[
        // Without reasons, in which an endpoint may repeat what it was sent.
        (
            "select",
            "lane, name, kind, tenant, patterns, state, state_since, failing_since, daemon, waiting, waiting_is_exact, oldest, parked, dead, lost, lost_at, replay",
            "andon.lane_status",
        ),
        // Without the fingerprint, which is a digest of a destination's row with its secrets: a weak one could be guessed by it where no key seals.
        (
            "select",
            "lane, tenant, name, position, pending, shared_holes, epoch, state, state_since, updated_at, daemon, lost, lost_at, failing_since, failed_at, replay, delivered, writes, filled, patterns",
            "andon.lanes",
        ),
        ("select", "", "andon.shared_holes"),
        ("select", "", "andon.tail"),
        ("select", "", "andon.daemons"),
        ("select", "", "andon.replays"),
        ("select", "", "andon.migrations"),
        (
            "select",
            "name, profile, mqtt_publishers, webhooks, attached_at, attached_by, state, reason, checked_at",
            "andon.sources",
        ),
        ("select", "id, event_id, tenant, type, entity_type, entity_id, occurred_at, captured_at", "andon.events"),
        (
            "select",
            "id, lane, event, event_id, tenant, type, entity_type, entity_id, occurred_at, state, attempts, next_attempt_at, parked_at, replayed",
            "andon.deliveries",
        ),
        ("select", "at, lane, event, event_id, attempt, outcome, code, latency_ms", "andon.attempts"),
        (
            "select",
            "id, at, source, table_name, operation, sqlstate, events, recovered_at, acknowledged_at, times, last_at",
            "andon.capture_errors",
        ),
        ("select", "id, tenant_id, name, events, active, created_at", "andon.webhooks"),
        ("select", "id, tenant_id, name, topic_pattern, events, active, created_at", "andon.mqtt_publishers"),
    ],
    functions: &["andon.lives(timestamp with time zone)", "andon.pending_ids(andon.lanes)"],
    reads_all: false,
};
