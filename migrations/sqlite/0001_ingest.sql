-- What the gateway keeps: configuration, events, alerts, incidents, changes, timelines.
--
-- Every table that people see rows of has `seq INTEGER PRIMARY KEY` (the rowid) and an id that
-- carries the same number (see domain/id.rs), so looking an id up needs no index. Times are integer
-- milliseconds since the epoch, payloads are text as received. `events` has no secondary index and
-- no foreign key: each costs the one writer as much as the row itself.

CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE services (
    seq              INTEGER PRIMARY KEY,
    id               BLOB NOT NULL,
    name             TEXT NOT NULL,
    description      TEXT NOT NULL,
    -- JSON object: grouping, auto_resolve, acknowledgement_timeout.
    policy           TEXT NOT NULL,
    version          INTEGER NOT NULL,
    created_at_ms    INTEGER NOT NULL,
    deleted_at_ms    INTEGER
) STRICT;
CREATE UNIQUE INDEX services_name ON services (name) WHERE deleted_at_ms IS NULL;

CREATE TABLE integrations (
    seq           INTEGER PRIMARY KEY,
    id            BLOB NOT NULL,
    service_seq   INTEGER NOT NULL REFERENCES services (seq),
    name          TEXT NOT NULL,
    type          TEXT NOT NULL CHECK (type IN ('pagerduty', 'guance')),
    shared        INTEGER NOT NULL CHECK (shared IN (0, 1)),
    key_hint      TEXT NOT NULL,
    version       INTEGER NOT NULL,
    created_at_ms INTEGER NOT NULL,
    deleted_at_ms INTEGER
) STRICT;
CREATE UNIQUE INDEX integrations_name ON integrations (name) WHERE deleted_at_ms IS NULL;
CREATE INDEX integrations_service ON integrations (service_seq);

-- Routing keys by hash. A rotated one works until it expires.
CREATE TABLE integration_keys (
    key_sha256      BLOB PRIMARY KEY,
    integration_seq INTEGER NOT NULL REFERENCES integrations (seq),
    created_at_ms   INTEGER NOT NULL,
    expires_at_ms   INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX integration_keys_integration ON integration_keys (integration_seq);

CREATE TABLE tokens (
    seq           INTEGER PRIMARY KEY,
    id            BLOB NOT NULL,
    name          TEXT NOT NULL,
    role          TEXT NOT NULL CHECK (role IN ('viewer', 'responder', 'admin')),
    hint          TEXT NOT NULL,
    token_sha256  BLOB NOT NULL UNIQUE,
    created_at_ms INTEGER NOT NULL,
    revoked_at_ms INTEGER
) STRICT;
CREATE UNIQUE INDEX tokens_name ON tokens (name) WHERE revoked_at_ms IS NULL;

-- Who changed the configuration, when, from where, and how.
CREATE TABLE audit (
    seq         INTEGER PRIMARY KEY,
    id          BLOB NOT NULL,
    at_ms       INTEGER NOT NULL,
    actor       TEXT NOT NULL,
    address     TEXT,
    action      TEXT NOT NULL,
    object_kind TEXT NOT NULL,
    object_id   BLOB NOT NULL,
    object_name TEXT NOT NULL,
    -- JSON object: what changed. Never a secret.
    detail      TEXT NOT NULL
) STRICT;

-- `alert_seq` and `prev_event_seq` chain the events of an alert, newest first, from
-- `alerts.last_event_seq`. `content_seq` names what a trigger said.
CREATE TABLE events (
    seq             INTEGER PRIMARY KEY,
    id              BLOB NOT NULL,
    integration_seq INTEGER NOT NULL,
    service_seq     INTEGER NOT NULL,
    alert_seq       INTEGER,
    prev_event_seq  INTEGER,
    content_seq     INTEGER,
    received_at_ms  INTEGER NOT NULL,
    event_at_ms     INTEGER NOT NULL,
    timestamp_sent  TEXT,
    api             TEXT NOT NULL,
    action          TEXT NOT NULL,
    disposition     TEXT NOT NULL,
    dedup_key       TEXT NOT NULL,
    trace           TEXT NOT NULL,
    body            TEXT NOT NULL
) STRICT;

-- One row for each version of an alert's content; an unchanged repeat adds none. `text_seq` is the
-- first row with the same searchable text: that one is in the full-text index.
CREATE TABLE contents (
    seq               INTEGER PRIMARY KEY,
    alert_seq         INTEGER NOT NULL,
    text_seq          INTEGER NOT NULL,
    severity          TEXT NOT NULL,
    summary           TEXT NOT NULL,
    source            TEXT NOT NULL,
    component         TEXT,
    "group"           TEXT,
    class             TEXT,
    client            TEXT,
    client_url        TEXT,
    links             TEXT,
    images            TEXT,
    labels            TEXT,
    custom_details    TEXT,
    -- Large details are not copied: these bytes of that event's body are the details.
    details_event_seq INTEGER,
    details_offset    INTEGER,
    details_bytes     INTEGER
) STRICT;
CREATE INDEX contents_alert ON contents (alert_seq, seq);
CREATE INDEX contents_details_event ON contents (details_event_seq)
    WHERE details_event_seq IS NOT NULL;

CREATE TABLE alerts (
    seq                 INTEGER PRIMARY KEY,
    id                  BLOB NOT NULL,
    integration_seq     INTEGER NOT NULL,
    service_seq         INTEGER NOT NULL,
    incident_seq        INTEGER,
    dedup_key           TEXT NOT NULL,
    generated_key       INTEGER NOT NULL CHECK (generated_key IN (0, 1)),
    status              TEXT NOT NULL CHECK (status IN ('triggered', 'acknowledged', 'resolved')),
    severity            TEXT NOT NULL,
    max_severity        TEXT NOT NULL,
    event_count         INTEGER NOT NULL,
    event_at_ms         INTEGER NOT NULL,
    first_event_at_ms   INTEGER NOT NULL,
    last_event_at_ms    INTEGER NOT NULL,
    acknowledged_at_ms  INTEGER,
    resolved_at_ms      INTEGER,
    last_event_seq      INTEGER NOT NULL,
    content_seq         INTEGER NOT NULL,
    content_hash        INTEGER NOT NULL,
    text_seq            INTEGER NOT NULL,
    text_hash           INTEGER NOT NULL,
    -- Lower bounds: a timer that fires early is set again from its base.
    auto_resolve_due_ms INTEGER,
    ack_timeout_due_ms  INTEGER
) STRICT;
-- The law: at most one open alert a key.
CREATE UNIQUE INDEX alerts_open_key ON alerts (integration_seq, dedup_key)
    WHERE status <> 'resolved';
-- A key that comes back finds the incident it was in. Generated keys never come back.
CREATE INDEX alerts_key ON alerts (integration_seq, dedup_key, seq) WHERE generated_key = 0;
CREATE INDEX alerts_open_service ON alerts (service_seq, seq) WHERE status <> 'resolved';
CREATE INDEX alerts_incident ON alerts (incident_seq, seq);
CREATE INDEX alerts_auto_resolve_due ON alerts (auto_resolve_due_ms)
    WHERE auto_resolve_due_ms IS NOT NULL AND status <> 'resolved';
CREATE INDEX alerts_ack_timeout_due ON alerts (ack_timeout_due_ms)
    WHERE ack_timeout_due_ms IS NOT NULL AND status <> 'resolved';

-- `seq` is the number people see. Severity follows from the counters of its open alerts.
CREATE TABLE incidents (
    seq                   INTEGER PRIMARY KEY,
    id                    BLOB NOT NULL,
    service_seq           INTEGER NOT NULL,
    rule_id               BLOB,
    -- JSON: {"rule": id, "values": {…}}; null for an incident of one alert.
    group_key             TEXT,
    title                 TEXT NOT NULL,
    status                TEXT NOT NULL CHECK (status IN ('triggered', 'acknowledged', 'resolved')),
    severity              TEXT NOT NULL,
    max_severity          TEXT NOT NULL,
    alert_count           INTEGER NOT NULL,
    open_info             INTEGER NOT NULL CHECK (open_info >= 0),
    open_warning          INTEGER NOT NULL CHECK (open_warning >= 0),
    open_error            INTEGER NOT NULL CHECK (open_error >= 0),
    open_critical         INTEGER NOT NULL CHECK (open_critical >= 0),
    created_at_ms         INTEGER NOT NULL,
    last_alert_at_ms      INTEGER NOT NULL,
    acknowledged_at_ms    INTEGER,
    acknowledged_by       TEXT,
    acknowledged_severity TEXT,
    resolved_at_ms        INTEGER,
    ack_timeout_due_ms    INTEGER
) STRICT;
CREATE INDEX incidents_open_service ON incidents (service_seq, seq) WHERE status <> 'resolved';
CREATE INDEX incidents_ack_timeout_due ON incidents (ack_timeout_due_ms)
    WHERE ack_timeout_due_ms IS NOT NULL;

-- The incident that may be joined under a value: the newest, since one that stopped accepting
-- never accepts again. Gone when it is resolved.
CREATE TABLE incident_keys (
    service_seq  INTEGER NOT NULL,
    rule_seq     INTEGER NOT NULL,
    hash         INTEGER NOT NULL,
    incident_seq INTEGER NOT NULL,
    PRIMARY KEY (service_seq, rule_seq, hash)
) STRICT, WITHOUT ROWID;
CREATE INDEX incident_keys_incident ON incident_keys (incident_seq);

CREATE TABLE timeline (
    seq          INTEGER PRIMARY KEY,
    id           BLOB NOT NULL,
    at_ms        INTEGER NOT NULL,
    alert_seq    INTEGER,
    incident_seq INTEGER,
    kind         TEXT NOT NULL,
    actor        TEXT NOT NULL,
    reason       TEXT NOT NULL
) STRICT;
CREATE INDEX timeline_alert ON timeline (alert_seq, seq) WHERE alert_seq IS NOT NULL;
CREATE INDEX timeline_incident ON timeline (incident_seq, seq) WHERE incident_seq IS NOT NULL;

CREATE TABLE changes (
    seq             INTEGER PRIMARY KEY,
    id              BLOB NOT NULL,
    integration_seq INTEGER NOT NULL,
    service_seq     INTEGER NOT NULL,
    received_at_ms  INTEGER NOT NULL,
    event_at_ms     INTEGER NOT NULL,
    timestamp_sent  TEXT,
    summary         TEXT NOT NULL,
    source          TEXT,
    custom_details  TEXT,
    links           TEXT
) STRICT;
CREATE INDEX changes_service ON changes (service_seq, received_at_ms);

-- Statistics outlive the events they count.
CREATE TABLE hourly_counts (
    service_seq       INTEGER NOT NULL,
    hour              INTEGER NOT NULL,
    events            INTEGER NOT NULL,
    alerts            INTEGER NOT NULL,
    incidents         INTEGER NOT NULL,
    resolved_alerts   INTEGER NOT NULL,
    PRIMARY KEY (service_seq, hour)
) STRICT, WITHOUT ROWID;

-- Slices of the full-text index, each an FTS5 table search_<slice> over contents.seq.
CREATE TABLE search_slices (
    slice     INTEGER PRIMARY KEY,
    first_seq INTEGER NOT NULL,
    last_seq  INTEGER NOT NULL,
    docs      INTEGER NOT NULL
) STRICT;
