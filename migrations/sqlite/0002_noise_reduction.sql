-- What takes the noise out: what keeps alerts quiet, whom incidents were told to, how keys behave.

-- `standing`: JSON, which silences, inhibition and notify rules the alert matches and what keeps it
-- quiet; null for the usual alert that no rule looks at.
ALTER TABLE alerts ADD COLUMN standing TEXT;
ALTER TABLE alerts ADD COLUMN suppressed INTEGER NOT NULL DEFAULT 0 CHECK (suppressed IN (0, 1));
ALTER TABLE alerts ADD COLUMN flapping INTEGER NOT NULL DEFAULT 0 CHECK (flapping IN (0, 1));
-- The policy was changed since the alert was matched against it: it is matched when it is judged.
ALTER TABLE alerts ADD COLUMN stale INTEGER NOT NULL DEFAULT 0 CHECK (stale IN (0, 1));
-- When what keeps it quiet begins or ends.
ALTER TABLE alerts ADD COLUMN judge_due_ms INTEGER;
CREATE INDEX alerts_judge_due ON alerts (judge_due_ms)
    WHERE judge_due_ms IS NOT NULL AND status <> 'resolved';
CREATE INDEX alerts_suppressed ON alerts (seq) WHERE suppressed = 1 AND status <> 'resolved';
CREATE INDEX alerts_flapping ON alerts (incident_seq) WHERE flapping = 1 AND status <> 'resolved';

ALTER TABLE incidents ADD COLUMN snoozed_until_ms INTEGER;
ALTER TABLE incidents ADD COLUMN assignee TEXT;
ALTER TABLE incidents ADD COLUMN storm INTEGER;
-- JSON: quiet alerts by severity, where each receiver stands; null where there is nothing to keep.
ALTER TABLE incidents ADD COLUMN notices TEXT;
-- Anything about the incident that is due: also of a resolved one whose resolve waits.
ALTER TABLE incidents RENAME COLUMN ack_timeout_due_ms TO due_ms;
DROP INDEX incidents_ack_timeout_due;
CREATE INDEX incidents_due ON incidents (due_ms) WHERE due_ms IS NOT NULL;

-- What is remembered of a dedup key across its alerts: how it flaps, how its episodes ended.
CREATE TABLE key_states (
    integration_seq INTEGER NOT NULL,
    dedup_key       TEXT NOT NULL,
    service_seq     INTEGER NOT NULL,
    state           TEXT NOT NULL,
    due_ms          INTEGER,
    last_seen_ms    INTEGER NOT NULL,
    PRIMARY KEY (integration_seq, dedup_key)
) STRICT, WITHOUT ROWID;
CREATE INDEX key_states_due ON key_states (due_ms) WHERE due_ms IS NOT NULL;
CREATE INDEX key_states_last_seen ON key_states (last_seen_ms);

-- How many open alerts are sources under the `equal` values of an inhibition rule.
CREATE TABLE inhibitors (
    service_seq INTEGER NOT NULL,
    rule_seq    INTEGER NOT NULL,
    hash        INTEGER NOT NULL,
    state       TEXT NOT NULL,
    -- Since when there is none: such a row is of no use once its release delay is over.
    idle_since_ms INTEGER,
    PRIMARY KEY (service_seq, rule_seq, hash)
) STRICT, WITHOUT ROWID;
CREATE INDEX inhibitors_idle ON inhibitors (idle_since_ms) WHERE idle_since_ms IS NOT NULL;

-- Open alerts that are targets under them.
CREATE TABLE inhibition_targets (
    service_seq INTEGER NOT NULL,
    rule_seq    INTEGER NOT NULL,
    hash        INTEGER NOT NULL,
    alert_seq   INTEGER NOT NULL,
    PRIMARY KEY (service_seq, rule_seq, hash, alert_seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX inhibition_targets_alert ON inhibition_targets (alert_seq);

-- Templates that similarity rules have learned.
CREATE TABLE templates (
    service_seq  INTEGER NOT NULL,
    rule_seq     INTEGER NOT NULL,
    template_seq INTEGER NOT NULL,
    template     TEXT NOT NULL,
    PRIMARY KEY (service_seq, rule_seq, template_seq)
) STRICT, WITHOUT ROWID;

-- Notifications that were decided, in the order of their decision.
CREATE TABLE notifications (
    seq            INTEGER PRIMARY KEY,
    -- When it was due, and when that was found.
    at_ms          INTEGER NOT NULL,
    recorded_at_ms INTEGER NOT NULL,
    service_seq    INTEGER NOT NULL,
    incident_seq   INTEGER NOT NULL,
    receiver       TEXT NOT NULL,
    reason         TEXT NOT NULL,
    severity       TEXT NOT NULL
) STRICT;
CREATE INDEX notifications_incident ON notifications (incident_seq, seq);

ALTER TABLE hourly_counts ADD COLUMN notifications INTEGER NOT NULL DEFAULT 0;
ALTER TABLE hourly_counts ADD COLUMN acknowledged INTEGER NOT NULL DEFAULT 0;
ALTER TABLE hourly_counts ADD COLUMN acknowledged_after_ms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE hourly_counts ADD COLUMN resolved INTEGER NOT NULL DEFAULT 0;
ALTER TABLE hourly_counts ADD COLUMN resolved_after_ms INTEGER NOT NULL DEFAULT 0;
