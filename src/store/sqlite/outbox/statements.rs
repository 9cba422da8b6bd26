//! The texts of the outbox's statements.

use super::super::bulk::Bulk;

pub(super) static INSERT: Bulk = Bulk::new(
    "INSERT INTO deliveries (seq, id, lane, receiver_seq, receiver_version, receiver, \
     service_seq, incident_seq, alert_seq, reason, rank, severity, wakes, at_ms, created_at_ms, \
     state) SELECT *, 'pending' FROM (",
    15,
    ") WHERE column1 IS NOT NULL",
);

/// The first open delivery of a lane is due; none is while one of the lane is on its way.
pub(super) static MOVE_UP: Bulk = Bulk::new(
    "WITH v(lane, now) AS (",
    2,
    ") UPDATE deliveries SET next_attempt_at_ms = max(deliveries.at_ms, f.now) FROM ( \
     SELECT v.now AS now, (SELECT d.seq FROM deliveries d INDEXED BY deliveries_lane \
     WHERE d.lane = v.lane AND d.state IN ('pending', 'leased') ORDER BY d.seq LIMIT 1) AS seq \
     FROM v WHERE v.lane IS NOT NULL AND NOT EXISTS (SELECT 1 FROM deliveries l \
     INDEXED BY deliveries_lane WHERE l.lane = v.lane AND l.state IN ('pending', 'leased') \
     AND l.state = 'leased')) f \
     WHERE deliveries.seq = f.seq AND deliveries.next_attempt_at_ms IS NULL",
);

/// What was leased may have been sent.
pub(super) const DOUBT_LEASED: &str = "INSERT INTO lanes (lane, receiver_seq, incident_seq, knows) \
     SELECT lane, receiver_seq, incident_seq, 'maybe' FROM deliveries INDEXED BY deliveries_leased \
     WHERE state = 'leased' AND incident_seq IS NOT NULL AND ?1 IS NOT NULL \
     ON CONFLICT (lane) DO UPDATE SET knows = 'maybe' WHERE knows = 'no'";

pub(super) const RELEASE: &str = "UPDATE deliveries INDEXED BY deliveries_leased \
     SET state = CASE WHEN incident_seq IS NULL THEN 'dead' ELSE 'pending' END, leased_by = NULL, \
     ended_at_ms = CASE WHEN incident_seq IS NULL THEN ?1 END, \
     next_attempt_at_ms = CASE WHEN incident_seq IS NULL THEN NULL ELSE ?1 END, \
     noted = CASE WHEN incident_seq IS NULL THEN 1 ELSE noted END WHERE state = 'leased'";

/// From receiver to receiver along the index, so that a long backlog of one costs nothing.
pub(super) const DUE: &str = "WITH RECURSIVE reached(s) AS ( \
     SELECT min(receiver_seq) FROM deliveries INDEXED BY deliveries_due \
     WHERE next_attempt_at_ms IS NOT NULL \
     UNION ALL SELECT (SELECT min(receiver_seq) FROM deliveries INDEXED BY deliveries_due \
     WHERE next_attempt_at_ms IS NOT NULL AND receiver_seq > reached.s) \
     FROM reached WHERE reached.s IS NOT NULL) \
     SELECT s, (SELECT min(m) FROM (SELECT (SELECT min(d.next_attempt_at_ms) FROM deliveries d \
     INDEXED BY deliveries_due WHERE d.receiver_seq = reached.s AND d.rank = ranks.value \
     AND d.next_attempt_at_ms IS NOT NULL) AS m FROM json_each('[0,1,2]') ranks)) \
     FROM reached WHERE s IS NOT NULL";

/// What is due of a receiver, of one rank.
pub(super) const HEADS: &str = "SELECT d.seq, d.id, d.lane, d.receiver_seq, d.receiver_version, \
     d.receiver, d.incident_seq, d.alert_seq, d.reason, d.severity, d.wakes, d.at_ms, d.attempts, \
     d.failures, d.first_attempt_at_ms, d.payload, coalesce(l.knows, 'no'), l.remote \
     FROM deliveries d INDEXED BY deliveries_due LEFT JOIN lanes l ON l.lane = d.lane \
     WHERE d.receiver_seq = ?1 AND d.rank = ?2 AND d.next_attempt_at_ms <= ?3 \
     ORDER BY d.next_attempt_at_ms, d.seq LIMIT ?4";

/// What comes behind a delivery in its lane.
pub(super) const BEHIND: &str = "SELECT d.seq, d.id, d.lane, d.receiver_seq, d.receiver_version, \
     d.receiver, d.incident_seq, d.alert_seq, d.reason, d.severity, d.wakes, d.at_ms, d.attempts, \
     d.failures, d.first_attempt_at_ms, d.payload, coalesce(l.knows, 'no'), l.remote \
     FROM deliveries d INDEXED BY deliveries_lane LEFT JOIN lanes l ON l.lane = d.lane \
     WHERE d.lane = ?1 AND d.state IN ('pending', 'leased') AND d.seq > ?2 \
     ORDER BY d.seq LIMIT ?3";

pub(super) static LEASE: Bulk = Bulk::new(
    "WITH v(seq, worker, until) AS (",
    3,
    ") UPDATE deliveries SET state = 'leased', leased_by = v.worker, \
     next_attempt_at_ms = v.until FROM v WHERE deliveries.seq = v.seq",
);

pub(super) static INSERT_ATTEMPTS: Bulk = Bulk::new(
    "INSERT OR REPLACE INTO attempts (delivery_seq, number, at_ms, duration_ms, status, error, \
     request, answer) SELECT * FROM (",
    8,
    ") WHERE column1 IS NOT NULL",
);

/// If one before it in its lane was queued again meanwhile, it waits for that; a resolve goes out
/// once more behind it. How a test ended is seen by whoever tests.
pub(super) static RECORD: Bulk = Bulk::new(
    "WITH v(seq, state, attempts, failures, first_at, next_at, not_before, ended_at, payload) AS (",
    9,
    ") UPDATE deliveries SET \
     state = CASE WHEN w.is_behind AND reason = 'resolved' AND v.state = 'delivered' \
     THEN 'pending' ELSE v.state END, \
     ended_at_ms = CASE WHEN w.is_behind AND reason = 'resolved' AND v.state = 'delivered' \
     THEN NULL ELSE v.ended_at END, \
     next_attempt_at_ms = CASE WHEN w.is_behind THEN NULL ELSE v.next_at END, \
     attempts = v.attempts, failures = v.failures, first_attempt_at_ms = v.first_at, \
     not_before_ms = v.not_before, payload = coalesce(v.payload, deliveries.payload), \
     noted = CASE WHEN incident_seq IS NULL THEN 1 ELSE noted END, leased_by = NULL \
     FROM v CROSS JOIN (SELECT v.seq AS s, EXISTS (SELECT 1 FROM deliveries e \
     INDEXED BY deliveries_lane WHERE e.lane = d.lane AND e.state IN ('pending', 'leased') \
     AND e.seq < d.seq) AS is_behind FROM v CROSS JOIN deliveries d ON d.seq = v.seq) w \
     ON w.s = v.seq WHERE deliveries.seq = v.seq",
);

/// One that has been wakened by what was folded into it.
pub(super) const WAKES: &str = "UPDATE deliveries SET wakes = 1 WHERE seq = ?1";

pub(super) static PUT_LANES: Bulk = Bulk::new(
    "INSERT INTO lanes (lane, receiver_seq, incident_seq, knows, remote) SELECT * FROM (",
    5,
    ") WHERE column1 IS NOT NULL ON CONFLICT (lane) DO UPDATE SET \
     incident_seq = excluded.incident_seq, knows = excluded.knows, \
     remote = coalesce(excluded.remote, remote)",
);

/// Delivered notifications are counted in the hour in which they were.
pub(super) static COUNT_DELIVERED: Bulk = Bulk::new(
    "WITH v(seq, hour) AS (",
    2,
    ") INSERT INTO hourly_counts (service_seq, hour, events, alerts, incidents, resolved_alerts, \
     notifications) SELECT d.service_seq, v.hour, 0, 0, 0, 0, count(*) FROM v \
     CROSS JOIN deliveries d ON d.seq = v.seq WHERE d.service_seq IS NOT NULL \
     GROUP BY d.service_seq, v.hour ON CONFLICT (service_seq, hour) DO UPDATE SET \
     notifications = notifications + excluded.notifications",
);

/// What waited for the receiver to be up again, and for nothing else, is due.
pub(super) const PULL_FORWARD: &str = "UPDATE deliveries INDEXED BY deliveries_due \
     SET next_attempt_at_ms = max(?2, coalesce(not_before_ms, ?2)) \
     WHERE receiver_seq = ?1 AND rank IN (0, 1, 2) AND next_attempt_at_ms > ?2 \
     AND state = 'pending'";

/// What waits for nothing but its own time, and for that the shortest, of one rank.
pub(super) const WAITING: &str = "SELECT seq, next_attempt_at_ms FROM deliveries \
     INDEXED BY deliveries_due WHERE receiver_seq = ?1 AND rank = ?2 AND next_attempt_at_ms > ?3 \
     AND state = 'pending' AND coalesce(not_before_ms, 0) <= ?3 ORDER BY next_attempt_at_ms LIMIT 1";

pub(super) const DUE_NOW: &str = "UPDATE deliveries SET next_attempt_at_ms = ?2 WHERE seq = ?1";

pub(super) const REVISION: &str = "SELECT id, name, kind, settings FROM receiver_revisions WHERE receiver_seq = ?1 AND version = ?2";

pub(super) const RECEIVERS_CALLED: &str =
    "SELECT DISTINCT id FROM receiver_revisions WHERE name = ?1 OR id = ?2";

/// Whether one before a resolve told its lane of its alert, or may have, and no resolve of the alert
/// got through since. What was folded into another one was not sent.
pub(super) const TOLD_BEFORE: &str = "SELECT EXISTS (SELECT 1 FROM deliveries d \
     INDEXED BY deliveries_alert WHERE d.alert_seq = ?1 AND d.lane = ?2 AND d.seq < ?3 \
     AND d.reason <> 'resolved' AND (d.payload IS NOT NULL OR (d.state = 'delivered' \
     AND (SELECT a.request FROM attempts a WHERE a.delivery_seq = d.seq \
     AND a.number = d.attempts) IS NOT '')) AND d.seq > coalesce((SELECT max(r.seq) \
     FROM deliveries r INDEXED BY deliveries_alert WHERE r.alert_seq = ?1 AND r.lane = ?2 \
     AND r.seq < ?3 AND r.reason = 'resolved' AND r.state = 'delivered'), 0))";

pub(super) const TOLD_OF_INCIDENT: &str = "SELECT EXISTS (SELECT 1 FROM deliveries \
     INDEXED BY deliveries_incident WHERE incident_seq = ?1 AND receiver_seq = ?2)";

pub(super) const TOLD_OF_ALERT: &str = "SELECT EXISTS (SELECT 1 FROM deliveries \
     INDEXED BY deliveries_alert WHERE alert_seq = ?1 AND receiver_seq = ?2)";

pub(super) const DEAD: &str =
    "SELECT lane, incident_seq, alert_seq, state FROM deliveries WHERE seq = ?1 AND id = ?2";

/// Queues it again.
pub(super) const REQUEUE: &str = "UPDATE deliveries SET state = 'pending', failures = 0, \
     first_attempt_at_ms = NULL, next_attempt_at_ms = NULL, not_before_ms = NULL, \
     ended_at_ms = NULL, noted = 0 WHERE seq = ?1 AND state IN ('delivered', 'dead')";

/// The last one of a lane behind a delivery, if it is a resolve and at an end: it may be of another
/// incident, into which the alert was moved, or of a later alert of the key.
pub(super) const RESOLVE_BEHIND: &str = "SELECT seq FROM deliveries WHERE seq = (SELECT max(d.seq) \
     FROM deliveries d INDEXED BY deliveries_incident WHERE d.incident_seq IN \
     (?1, (SELECT incident_seq FROM alerts WHERE seq = ?2), \
     (SELECT incident_seq FROM lanes WHERE lane = ?3)) AND d.lane = ?3 AND d.seq > ?4) \
     AND reason = 'resolved' AND state IN ('delivered', 'dead')";

/// Who was first in a lane before one was queued again waits.
pub(super) const WAIT: &str = "UPDATE deliveries INDEXED BY deliveries_lane \
     SET next_attempt_at_ms = NULL WHERE lane = ?1 AND state IN ('pending', 'leased') \
     AND state = 'pending'";

pub(super) const NOTE: &str = "UPDATE deliveries SET noted = 1 WHERE seq = ?1";

/// One that failed, not one that had nothing to say; of an incident that is open, or lately.
pub(super) const WITH_DEAD: &str = "SELECT DISTINCT d.receiver FROM deliveries d \
     INDEXED BY deliveries_dead JOIN incidents i ON i.seq = d.incident_seq \
     WHERE d.state = 'dead' AND d.failures > 0 \
     AND (i.status <> 'resolved' OR d.ended_at_ms > ?1)";

/// The statements that run with every batch, for the look at their plans.
#[cfg(test)]
pub(in crate::store::sqlite) fn hot() -> Vec<(&'static str, &'static str)> {
    vec![
        ("insert deliveries", INSERT.text(8)),
        ("move lanes up", MOVE_UP.text(8)),
        ("due", DUE),
        ("heads", HEADS),
        ("behind", BEHIND),
        ("lease", LEASE.text(8)),
        ("record", RECORD.text(8)),
        ("put lanes", PUT_LANES.text(8)),
        ("count delivered", COUNT_DELIVERED.text(8)),
        ("pull forward", PULL_FORWARD),
        ("waiting", WAITING),
        ("told before", TOLD_BEFORE),
        ("told of incident", TOLD_OF_INCIDENT),
        ("told of alert", TOLD_OF_ALERT),
        ("requeue", REQUEUE),
        ("resolve behind", RESOLVE_BEHIND),
    ]
}
