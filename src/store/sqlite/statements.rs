//! The statements of the hot path. A test asks SQLite how it carries out each one, and refuses
//! those that would scan a table.

use super::bulk::Bulk;

macro_rules! alert_columns {
    () => {
        "a.seq, a.id, a.integration_seq, a.service_seq, \
         (SELECT id FROM incidents WHERE seq = a.incident_seq), a.dedup_key, \
         a.generated_key, a.status, a.severity, a.max_severity, a.event_count, a.event_at_ms, \
         a.first_event_at_ms, a.last_event_at_ms, a.acknowledged_at_ms, a.resolved_at_ms, \
         a.last_event_seq, a.content_seq, a.content_hash, a.text_seq, a.text_hash, \
         a.auto_resolve_due_ms, a.ack_timeout_due_ms, a.standing, a.flapping, a.stale, \
         a.judge_due_ms"
    };
}

macro_rules! incident_columns {
    () => {
        "i.seq, i.id, i.service_seq, i.rule_id, i.group_key, i.group_hashes, i.title, i.status, i.severity, \
         i.max_severity, i.alert_count, i.open_info, i.open_warning, i.open_error, \
         i.open_critical, i.created_at_ms, i.last_alert_at_ms, i.acknowledged_at_ms, \
         i.acknowledged_by, i.acknowledged_severity, i.resolved_at_ms, i.due_ms, \
         i.snoozed_until_ms, i.assignee, i.storm, i.notices"
    };
}

// `CROSS JOIN` keeps SQLite from turning the join round, and the literal `<> 'resolved'` lets it
// use the partial index; `IN (VALUES …)` or a bound status would scan.
pub(super) static OPEN_ALERTS: Bulk = Bulk::new(
    "WITH v(i, k) AS (",
    2,
    concat!(
        ") SELECT ",
        alert_columns!(),
        " FROM v CROSS JOIN alerts a ON a.integration_seq = v.i AND a.dedup_key = v.k \
         AND a.status <> 'resolved'"
    ),
);

pub(super) static NEWEST_ALERTS: Bulk = Bulk::new(
    "WITH v(i, k) AS (",
    2,
    concat!(
        ") SELECT ",
        alert_columns!(),
        " FROM v CROSS JOIN alerts a ON a.seq = (SELECT max(b.seq) FROM alerts b \
         WHERE b.integration_seq = v.i AND b.dedup_key = v.k AND b.generated_key = 0)"
    ),
);

pub(super) static ALERTS_BY_SEQ: Bulk = Bulk::new(
    "WITH v(s) AS (",
    1,
    concat!(") SELECT ", alert_columns!(), " FROM v CROSS JOIN alerts a ON a.seq = v.s"),
);

pub(super) static OPEN_ALERTS_OF_INCIDENTS: Bulk = Bulk::new(
    "WITH v(s) AS (",
    1,
    concat!(
        ") SELECT ",
        alert_columns!(),
        " FROM v CROSS JOIN alerts a ON a.incident_seq = v.s AND a.status <> 'resolved'"
    ),
);

pub(super) static INCIDENTS_BY_SEQ: Bulk = Bulk::new(
    "WITH v(s) AS (",
    1,
    concat!(") SELECT ", incident_columns!(), " FROM v CROSS JOIN incidents i ON i.seq = v.s"),
);

pub(super) static NEWEST_OF_GROUPS: Bulk = Bulk::new(
    "WITH v(s, r, h) AS (",
    3,
    ") SELECT v.s, v.r, v.h, k.incident_seq FROM v CROSS JOIN lookup.open_groups k \
     ON k.service_seq = v.s AND k.rule_seq = v.r AND k.hash = v.h",
);

pub(super) const DUE_ALERTS: &str = concat!(
    "SELECT ",
    alert_columns!(),
    " FROM alerts a WHERE a.seq IN (SELECT seq FROM (SELECT seq, auto_resolve_due_ms FROM alerts \
     WHERE auto_resolve_due_ms IS NOT NULL AND status <> 'resolved' AND auto_resolve_due_ms <= ?1 \
     ORDER BY auto_resolve_due_ms LIMIT ?2)) OR a.seq IN (SELECT seq FROM (SELECT seq, \
     ack_timeout_due_ms FROM alerts WHERE ack_timeout_due_ms IS NOT NULL \
     AND status <> 'resolved' AND ack_timeout_due_ms <= ?1 ORDER BY ack_timeout_due_ms LIMIT ?2)) \
     OR a.seq IN (SELECT seq FROM (SELECT seq, judge_due_ms FROM alerts \
     WHERE judge_due_ms IS NOT NULL AND status <> 'resolved' AND judge_due_ms <= ?1 \
     ORDER BY judge_due_ms, seq LIMIT ?2))"
);

pub(super) const DUE_INCIDENTS: &str = concat!(
    "SELECT ",
    incident_columns!(),
    " FROM incidents i WHERE i.due_ms IS NOT NULL AND i.due_ms <= ?1 ORDER BY i.due_ms LIMIT ?2"
);

pub(super) const DUE_KEYS: &str = "SELECT k.integration_seq, k.dedup_key, k.state, k.due_ms \
     FROM key_states k WHERE k.due_ms IS NOT NULL AND k.due_ms <= ?1 ORDER BY k.due_ms LIMIT ?2";

pub(super) static KEY_STATES: Bulk = Bulk::new(
    "WITH v(i, k) AS (",
    2,
    ") SELECT k.integration_seq, k.dedup_key, k.state, k.due_ms FROM v CROSS JOIN key_states k \
     ON k.integration_seq = v.i AND k.dedup_key = v.k",
);

pub(super) static INHIBITORS: Bulk = Bulk::new(
    "WITH v(s, r, h) AS (",
    3,
    ") SELECT v.s, v.r, v.h, n.state FROM v CROSS JOIN inhibitors n \
     ON n.service_seq = v.s AND n.rule_seq = v.r AND n.hash = v.h",
);

/// At most [`crate::domain::loading::TARGETS_MAX`] for one key.
pub(super) const TARGETS: &str = "SELECT t.alert_seq FROM lookup.inhibition_targets t \
     WHERE t.service_seq = ?1 AND t.rule_seq = ?2 AND t.hash = ?3 ORDER BY t.alert_seq LIMIT ?4";

/// The newest content of alerts, with what large details are cut from.
pub(super) static CONTENTS: Bulk = Bulk::new(
    "WITH v(s) AS (",
    1,
    ") SELECT a.id, c.severity, c.summary, c.source, c.component, c.\"group\", c.class, c.client, \
     c.client_url, c.links, c.images, c.labels, coalesce(c.custom_details, (SELECT \
     CAST(substr(CAST(e.body AS BLOB), c.details_offset + 1, c.details_bytes) AS TEXT) \
     FROM events e \
     WHERE e.seq = c.details_event_seq)) FROM v CROSS JOIN alerts a ON a.seq = v.s \
     CROSS JOIN contents c ON c.seq = a.content_seq",
);

pub(super) const TEMPLATES: &str = "SELECT template_seq, template FROM templates \
     WHERE service_seq = ?1 AND rule_seq = ?2";

pub(super) const OPEN_ALERTS_OF_SERVICE: &str = concat!(
    "SELECT ",
    alert_columns!(),
    " FROM alerts a WHERE a.service_seq = ?1 AND a.status <> 'resolved' ORDER BY a.seq LIMIT ?2"
);

pub(super) static INSERT_EVENTS: Bulk = Bulk::new(
    "INSERT INTO events (seq, id, integration_seq, service_seq, alert_seq, prev_event_seq, \
     content_seq, received_at_ms, event_at_ms, timestamp_sent, api, action, disposition, \
     dedup_key, trace, body) SELECT * FROM (",
    16,
    ") WHERE column1 IS NOT NULL",
);

pub(super) static INSERT_CONTENTS: Bulk = Bulk::new(
    "INSERT INTO contents (seq, alert_seq, text_seq, severity, summary, source, component, \
     \"group\", class, client, client_url, links, images, labels, custom_details, \
     details_event_seq, details_offset, details_bytes) SELECT * FROM (",
    18,
    ") WHERE column1 IS NOT NULL",
);

pub(super) static INSERT_ALERTS: Bulk = Bulk::new(
    "INSERT INTO alerts (seq, id, integration_seq, service_seq, incident_seq, dedup_key, \
     generated_key, status, severity, max_severity, event_count, event_at_ms, first_event_at_ms, \
     last_event_at_ms, acknowledged_at_ms, resolved_at_ms, last_event_seq, content_seq, \
     content_hash, text_seq, text_hash, auto_resolve_due_ms, ack_timeout_due_ms, standing, \
     suppressed, flapping, stale, judge_due_ms) SELECT * FROM (",
    28,
    ") WHERE column1 IS NOT NULL",
);

/// A repeat: touches no column of an index, so SQLite leaves the indexes alone.
pub(super) static MERGE_ALERTS: Bulk = Bulk::new(
    "WITH v(s, severity, max_severity, event_count, event_at, last_event_at, last_event, \
     content, content_hash, text, text_hash) AS (",
    11,
    ") UPDATE alerts SET severity = v.severity, max_severity = v.max_severity, \
     event_count = v.event_count, event_at_ms = v.event_at, last_event_at_ms = v.last_event_at, \
     last_event_seq = v.last_event, content_seq = v.content, content_hash = v.content_hash, \
     text_seq = v.text, text_hash = v.text_hash FROM v WHERE alerts.seq = v.s",
);

pub(super) static UPDATE_ALERTS: Bulk = Bulk::new(
    "WITH v(s, severity, max_severity, event_count, event_at, last_event_at, last_event, \
     content, content_hash, text, text_hash, status, acknowledged_at, resolved_at, incident, \
     auto_resolve_due, ack_timeout_due, standing, suppressed, flapping, stale, judge_due) AS (",
    22,
    ") UPDATE alerts SET severity = v.severity, max_severity = v.max_severity, \
     event_count = v.event_count, event_at_ms = v.event_at, last_event_at_ms = v.last_event_at, \
     last_event_seq = v.last_event, content_seq = v.content, content_hash = v.content_hash, \
     text_seq = v.text, text_hash = v.text_hash, status = v.status, \
     acknowledged_at_ms = v.acknowledged_at, resolved_at_ms = v.resolved_at, \
     incident_seq = v.incident, auto_resolve_due_ms = v.auto_resolve_due, \
     ack_timeout_due_ms = v.ack_timeout_due, standing = v.standing, suppressed = v.suppressed, \
     flapping = v.flapping, stale = v.stale, judge_due_ms = v.judge_due \
     FROM v WHERE alerts.seq = v.s",
);

pub(super) static INSERT_INCIDENTS: Bulk = Bulk::new(
    "INSERT INTO incidents (seq, id, service_seq, rule_id, group_key, group_hashes, title, status, \
     severity, max_severity, alert_count, open_info, open_warning, open_error, open_critical, \
     created_at_ms, last_alert_at_ms, acknowledged_at_ms, acknowledged_by, \
     acknowledged_severity, resolved_at_ms, due_ms, snoozed_until_ms, assignee, storm, notices) \
     SELECT * FROM (",
    26,
    ") WHERE column1 IS NOT NULL",
);

pub(super) static UPDATE_INCIDENTS: Bulk = Bulk::new(
    "WITH v(s, status, severity, max_severity, alert_count, open_info, open_warning, open_error, \
     open_critical, last_alert_at, acknowledged_at, acknowledged_by, acknowledged_severity, \
     resolved_at, due, snoozed_until, assignee, storm, notices, group_hashes) AS (",
    20,
    ") UPDATE incidents SET status = v.status, severity = v.severity, \
     max_severity = v.max_severity, alert_count = v.alert_count, open_info = v.open_info, \
     open_warning = v.open_warning, open_error = v.open_error, open_critical = v.open_critical, \
     last_alert_at_ms = v.last_alert_at, acknowledged_at_ms = v.acknowledged_at, \
     acknowledged_by = v.acknowledged_by, acknowledged_severity = v.acknowledged_severity, \
     resolved_at_ms = v.resolved_at, due_ms = v.due, snoozed_until_ms = v.snoozed_until, \
     assignee = v.assignee, storm = v.storm, notices = v.notices, \
     group_hashes = v.group_hashes FROM v WHERE incidents.seq = v.s",
);

pub(super) static INSERT_GROUPS: Bulk = Bulk::new(
    "INSERT OR REPLACE INTO lookup.open_groups (service_seq, rule_seq, hash, incident_seq) \
     SELECT * FROM (",
    4,
    ") WHERE column1 IS NOT NULL",
);

pub(super) static DELETE_GROUPS: Bulk = Bulk::new(
    "WITH v(s, r, h) AS (",
    3,
    ") DELETE FROM lookup.open_groups WHERE (service_seq, rule_seq, hash) IN \
     (SELECT s, r, h FROM v)",
);

/// Open incidents of a service that are found by a group, after one, to fill the lookup from.
pub(super) const OPEN_GROUPS_PAGE: &str = "SELECT i.seq, i.rule_id, i.group_hashes \
     FROM incidents i INDEXED BY incidents_open_service WHERE i.status <> 'resolved' \
     AND i.service_seq = ? AND i.seq > ? AND i.group_hashes IS NOT NULL ORDER BY i.seq LIMIT ?";

/// Open alerts of a service that rules look at, after one, to fill the lookup from.
pub(super) const STANDINGS_PAGE: &str = "SELECT a.seq, a.standing \
     FROM alerts a INDEXED BY alerts_open_service WHERE a.status <> 'resolved' \
     AND a.service_seq = ? AND a.seq > ? AND a.standing IS NOT NULL ORDER BY a.seq LIMIT ?";

pub(super) static INSERT_TIMELINE: Bulk = Bulk::new(
    "INSERT INTO timeline (seq, id, at_ms, alert_seq, incident_seq, kind, actor, reason) \
     SELECT * FROM (",
    8,
    ") WHERE column1 IS NOT NULL",
);

pub(super) static INSERT_CHANGES: Bulk = Bulk::new(
    "INSERT INTO changes (seq, id, integration_seq, service_seq, received_at_ms, event_at_ms, \
     timestamp_sent, summary, source, custom_details, links) SELECT * FROM (",
    11,
    ") WHERE column1 IS NOT NULL",
);

pub(super) static ADD_COUNTS: Bulk = Bulk::new(
    "INSERT INTO hourly_counts (service_seq, hour, events, alerts, incidents, resolved_alerts, \
     acknowledged, acknowledged_after_ms, resolved, resolved_after_ms) \
     SELECT * FROM (",
    10,
    ") WHERE column1 IS NOT NULL ON CONFLICT (service_seq, hour) DO UPDATE SET \
     events = events + excluded.events, alerts = alerts + excluded.alerts, \
     incidents = incidents + excluded.incidents, \
     resolved_alerts = resolved_alerts + excluded.resolved_alerts, \
     acknowledged = acknowledged + excluded.acknowledged, \
     acknowledged_after_ms = acknowledged_after_ms + excluded.acknowledged_after_ms, \
     resolved = resolved + excluded.resolved, \
     resolved_after_ms = resolved_after_ms + excluded.resolved_after_ms",
);

pub(super) static PUT_KEY_STATES: Bulk = Bulk::new(
    "INSERT OR REPLACE INTO key_states (integration_seq, dedup_key, service_seq, state, due_ms, \
     last_seen_ms) SELECT * FROM (",
    6,
    ") WHERE column1 IS NOT NULL",
);

pub(super) static PUT_INHIBITORS: Bulk = Bulk::new(
    "INSERT OR REPLACE INTO inhibitors (service_seq, rule_seq, hash, state, idle_since_ms) \
     SELECT * FROM (",
    5,
    ") WHERE column1 IS NOT NULL",
);

pub(super) static DELETE_TARGETS: Bulk = Bulk::new(
    "WITH v(s, r, h, a) AS (",
    4,
    ") DELETE FROM lookup.inhibition_targets WHERE (service_seq, rule_seq, hash, alert_seq) IN \
     (SELECT s, r, h, a FROM v)",
);

pub(super) static INSERT_TARGETS: Bulk = Bulk::new(
    "INSERT INTO lookup.inhibition_targets (service_seq, rule_seq, hash, alert_seq) SELECT * FROM (",
    4,
    ") WHERE column1 IS NOT NULL",
);

/// Targets beyond those that a batch looked at are judged by the next ticks.
pub(super) const WAKE_TARGETS: &str = "UPDATE alerts SET judge_due_ms = \
     min(coalesce(judge_due_ms, ?4), ?4) WHERE status <> 'resolved' AND seq IN (SELECT alert_seq \
     FROM lookup.inhibition_targets WHERE service_seq = ?1 AND rule_seq = ?2 AND hash = ?3)";

pub(super) static PUT_TEMPLATES: Bulk = Bulk::new(
    "INSERT OR REPLACE INTO templates (service_seq, rule_seq, template_seq, template) \
     SELECT * FROM (",
    4,
    ") WHERE column1 IS NOT NULL",
);

pub(super) static DELETE_TEMPLATES: Bulk = Bulk::new(
    "WITH v(s, r, t) AS (",
    3,
    ") DELETE FROM templates WHERE (service_seq, rule_seq, template_seq) IN (SELECT s, r, t FROM v)",
);

pub(super) static SENT_IDS: Bulk = Bulk::new(
    "WITH v(i, h) AS (",
    2,
    ") SELECT d.integration_seq, d.hash FROM v CROSS JOIN sent_ids d \
     ON d.integration_seq = v.i AND d.hash = v.h",
);

pub(super) static INSERT_SENT_IDS: Bulk = Bulk::new(
    "INSERT INTO sent_ids (integration_seq, hash, received_at_ms) SELECT * FROM (",
    3,
    ") WHERE column1 IS NOT NULL",
);

/// The earliest time at which anything may be due.
pub(super) const NEXT_DUE: &str = "SELECT min(coalesce((SELECT auto_resolve_due_ms FROM alerts \
     WHERE auto_resolve_due_ms IS NOT NULL AND status <> 'resolved' \
     ORDER BY auto_resolve_due_ms LIMIT 1), ?1), coalesce((SELECT ack_timeout_due_ms FROM alerts \
     WHERE ack_timeout_due_ms IS NOT NULL AND status <> 'resolved' \
     ORDER BY ack_timeout_due_ms LIMIT 1), ?1), coalesce((SELECT judge_due_ms FROM alerts \
     WHERE judge_due_ms IS NOT NULL AND status <> 'resolved' \
     ORDER BY judge_due_ms LIMIT 1), ?1), coalesce((SELECT due_ms FROM incidents \
     WHERE due_ms IS NOT NULL ORDER BY due_ms LIMIT 1), ?1), coalesce((SELECT due_ms \
     FROM key_states WHERE due_ms IS NOT NULL ORDER BY due_ms LIMIT 1), ?1))";

/// Every statement above, for the test that asks for their plans.
#[cfg(test)]
pub(super) fn all() -> Vec<(&'static str, &'static str)> {
    vec![
        ("open alerts", OPEN_ALERTS.text(8)),
        ("newest alerts", NEWEST_ALERTS.text(8)),
        ("alerts by seq", ALERTS_BY_SEQ.text(8)),
        ("open alerts of incidents", OPEN_ALERTS_OF_INCIDENTS.text(8)),
        ("incidents by seq", INCIDENTS_BY_SEQ.text(8)),
        ("newest of groups", NEWEST_OF_GROUPS.text(8)),
        ("due alerts", DUE_ALERTS),
        ("due incidents", DUE_INCIDENTS),
        ("next due", NEXT_DUE),
        ("open alerts of service", OPEN_ALERTS_OF_SERVICE),
        ("insert events", INSERT_EVENTS.text(8)),
        ("insert contents", INSERT_CONTENTS.text(8)),
        ("insert alerts", INSERT_ALERTS.text(8)),
        ("merge alerts", MERGE_ALERTS.text(8)),
        ("update alerts", UPDATE_ALERTS.text(8)),
        ("insert incidents", INSERT_INCIDENTS.text(8)),
        ("update incidents", UPDATE_INCIDENTS.text(8)),
        ("insert groups", INSERT_GROUPS.text(8)),
        ("open groups", OPEN_GROUPS_PAGE),
        ("standings", STANDINGS_PAGE),
        ("delete groups", DELETE_GROUPS.text(8)),
        ("insert timeline", INSERT_TIMELINE.text(8)),
        ("insert changes", INSERT_CHANGES.text(8)),
        ("add counts", ADD_COUNTS.text(8)),
        ("due keys", DUE_KEYS),
        ("key states", KEY_STATES.text(8)),
        ("inhibitors", INHIBITORS.text(8)),
        ("targets", TARGETS),
        ("contents", CONTENTS.text(8)),
        ("templates", TEMPLATES),
        ("put key states", PUT_KEY_STATES.text(8)),
        ("put inhibitors", PUT_INHIBITORS.text(8)),
        ("delete targets", DELETE_TARGETS.text(8)),
        ("insert targets", INSERT_TARGETS.text(8)),
        ("wake targets", WAKE_TARGETS),
        ("put templates", PUT_TEMPLATES.text(8)),
        ("delete templates", DELETE_TEMPLATES.text(8)),
        ("sent ids", SENT_IDS.text(8)),
        ("insert sent ids", INSERT_SENT_IDS.text(8)),
        ("purge sent ids", super::sent_ids::PURGE),
    ]
    .into_iter()
    .chain(super::outbox::hot())
    .collect()
}

#[cfg(test)]
mod tests {
    use sqlx::Row;

    use super::super::SqliteStore;

    /// Tables and the aliases they have above. `v` and the like are the rows handed in.
    const TABLES: [&str; 26] = [
        "a",
        "b",
        "c",
        "d",
        "e",
        "i",
        "k",
        "l",
        "n",
        "t",
        "alerts",
        "changes",
        "contents",
        "deliveries",
        "events",
        "hourly_counts",
        "incidents",
        "inhibition_targets",
        "inhibitors",
        "integrations",
        "key_states",
        "lanes",
        "open_groups",
        "sent_ids",
        "templates",
        "timeline",
    ];

    #[tokio::test]
    async fn no_statement_of_the_hot_path_scans_a_table() {
        let directory = tempfile::tempdir().unwrap();
        let (store, _) = SqliteStore::open(&directory.path().join("test.db")).await.unwrap();
        let mut writer = store.writer().await.unwrap();
        let connection = writer.connection.as_mut().unwrap();

        for (name, statement) in super::all() {
            let explain = format!("EXPLAIN QUERY PLAN {statement}");
            let rows = sqlx::query(sqlx::AssertSqlSafe(explain)).fetch_all(&mut *connection).await;
            let plan: Vec<String> =
                rows.unwrap().iter().map(|row| row.get::<String, _>("detail")).collect();
            let scanned = plan
                .iter()
                .filter_map(|line| line.strip_prefix("SCAN "))
                .find(|rest| TABLES.contains(&rest.split(' ').next().unwrap_or_default()));

            assert_eq!(scanned, None, "{name}: {plan:#?}");
        }
    }
}
