-- What is owed to receivers: deliveries, tried in order within a lane, until they are through or dead.

-- Receivers as they were at each version. What was told through one is resolved through it, also
-- when the receiver has been changed or deleted since.
CREATE TABLE receiver_revisions (
    receiver_seq  INTEGER NOT NULL,
    version       INTEGER NOT NULL,
    name          TEXT NOT NULL,
    kind          TEXT NOT NULL,
    settings      TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL,
    PRIMARY KEY (receiver_seq, version)
) STRICT, WITHOUT ROWID;
INSERT INTO receiver_revisions (receiver_seq, version, name, kind, settings, created_at_ms)
    SELECT seq, version, name, kind, settings, created_at_ms FROM receivers;

CREATE TABLE deliveries (
    seq                 INTEGER PRIMARY KEY,
    id                  BLOB NOT NULL,
    -- Order is kept within a lane: a hash of the receiver and of what it is told of.
    lane                INTEGER NOT NULL,
    receiver_seq        INTEGER NOT NULL,
    receiver_version    INTEGER NOT NULL,
    receiver            TEXT NOT NULL,
    service_seq         INTEGER NOT NULL,
    incident_seq        INTEGER NOT NULL,
    -- Set where the receiver is told of each alert.
    alert_seq           INTEGER,
    reason              TEXT NOT NULL,
    severity            TEXT NOT NULL,
    -- It was told that it is acknowledged, and it is not any more.
    wakes               INTEGER NOT NULL CHECK (wakes IN (0, 1)),
    state               TEXT NOT NULL CHECK (state IN ('pending', 'leased', 'delivered', 'dead')),
    -- When it was to be told, and when that was found.
    at_ms               INTEGER NOT NULL,
    created_at_ms       INTEGER NOT NULL,
    attempts            INTEGER NOT NULL DEFAULT 0,
    first_attempt_at_ms INTEGER,
    -- Null: it is at an end, or waits for the one before it in its lane.
    next_attempt_at_ms  INTEGER,
    leased_by           TEXT,
    leased_until_ms     INTEGER,
    delivered_at_ms     INTEGER,
    -- What is sent on every further attempt, once one may have arrived.
    payload             TEXT
) STRICT;
-- What is due of a receiver: resolves first, then what opens, then the rest.
CREATE INDEX deliveries_due ON deliveries (receiver_seq, next_attempt_at_ms)
    WHERE next_attempt_at_ms IS NOT NULL;
CREATE INDEX deliveries_lane ON deliveries (lane, seq) WHERE state IN ('pending', 'leased');
CREATE INDEX deliveries_incident ON deliveries (incident_seq, seq);
CREATE INDEX deliveries_dead ON deliveries (seq) WHERE state = 'dead';

-- Every try, and every word on what became of a delivery.
CREATE TABLE attempts (
    delivery_seq INTEGER NOT NULL,
    number       INTEGER NOT NULL,
    at_ms        INTEGER NOT NULL,
    duration_ms  INTEGER NOT NULL,
    status       INTEGER,
    error        TEXT,
    request      TEXT NOT NULL,
    answer       TEXT NOT NULL,
    PRIMARY KEY (delivery_seq, number)
) STRICT, WITHOUT ROWID;

-- What a receiver knows of an incident or an alert, and what its notifier keeps of it: Jira's issue.
CREATE TABLE lanes (
    lane         INTEGER PRIMARY KEY,
    receiver_seq INTEGER NOT NULL,
    incident_seq INTEGER NOT NULL,
    alert_seq    INTEGER,
    told         TEXT NOT NULL CHECK (told IN ('no', 'maybe', 'yes')),
    -- JSON.
    remote       TEXT
) STRICT;
CREATE INDEX lanes_incident ON lanes (incident_seq);

