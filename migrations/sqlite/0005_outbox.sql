-- What is owed to receivers: deliveries, tried in order within a lane, until they are through or dead.

-- Receivers as they were at each version. What was told through one is resolved through it, also
-- when the receiver has been changed or deleted since.
CREATE TABLE receiver_revisions (
    receiver_seq  INTEGER NOT NULL,
    version       INTEGER NOT NULL,
    id            BLOB NOT NULL,
    name          TEXT NOT NULL,
    kind          TEXT NOT NULL,
    settings      TEXT NOT NULL,
    PRIMARY KEY (receiver_seq, version)
) STRICT, WITHOUT ROWID;
INSERT INTO receiver_revisions (receiver_seq, version, id, name, kind, settings)
    SELECT seq, version, id, name, kind, settings FROM receivers;

CREATE TABLE deliveries (
    seq                 INTEGER PRIMARY KEY,
    id                  BLOB NOT NULL,
    -- Order is kept within a lane: a hash of the receiver and of what it is told of.
    lane                INTEGER NOT NULL,
    receiver_seq        INTEGER NOT NULL,
    receiver_version    INTEGER NOT NULL,
    receiver            TEXT NOT NULL,
    service_seq         INTEGER,
    -- Null for a test.
    incident_seq        INTEGER,
    -- Set where the receiver is told of each alert.
    alert_seq           INTEGER,
    reason              TEXT NOT NULL,
    -- What of a receiver's backlog goes first.
    rank                INTEGER NOT NULL,
    severity            TEXT NOT NULL,
    -- It was told that it is acknowledged, and it is not any more.
    wakes               INTEGER NOT NULL CHECK (wakes IN (0, 1)),
    state               TEXT NOT NULL CHECK (state IN ('pending', 'leased', 'delivered', 'dead')),
    -- When it was to be told, and when that was found.
    at_ms               INTEGER NOT NULL,
    created_at_ms       INTEGER NOT NULL,
    attempts            INTEGER NOT NULL DEFAULT 0,
    -- Of these, how many failed since it was queued.
    failures            INTEGER NOT NULL DEFAULT 0,
    first_attempt_at_ms INTEGER,
    -- Null: it is at an end, or waits for the one before it in its lane. Of a leased one: when the
    -- lease runs out.
    next_attempt_at_ms  INTEGER,
    -- What the receiver asked for: no earlier, even if it is up again.
    not_before_ms       INTEGER,
    leased_by           TEXT,
    ended_at_ms         INTEGER,
    -- What is sent on every further attempt, once one may have arrived.
    payload             TEXT,
    -- It is dead, and that has been dealt with.
    noted               INTEGER NOT NULL DEFAULT 0 CHECK (noted IN (0, 1))
) STRICT;
CREATE INDEX deliveries_due ON deliveries (receiver_seq, rank, next_attempt_at_ms)
    WHERE next_attempt_at_ms IS NOT NULL;
CREATE INDEX deliveries_lane ON deliveries (lane, seq) WHERE state IN ('pending', 'leased');
CREATE INDEX deliveries_leased ON deliveries (seq) WHERE state = 'leased';
CREATE INDEX deliveries_dead ON deliveries (receiver_seq, seq) WHERE state = 'dead';
CREATE INDEX deliveries_unnoted ON deliveries (seq) WHERE state = 'dead' AND noted = 0;
CREATE INDEX deliveries_incident ON deliveries (incident_seq, seq);

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
) STRICT;

-- What a receiver knows of an incident or an alert, and what its notifier keeps of it: Jira's issue.
CREATE TABLE lanes (
    lane         INTEGER PRIMARY KEY,
    receiver_seq INTEGER NOT NULL,
    incident_seq INTEGER NOT NULL,
    -- Whether it was told: 'no', 'maybe', 'yes'.
    knows        TEXT NOT NULL CHECK (knows IN ('no', 'maybe', 'yes')),
    -- JSON.
    remote       TEXT
) STRICT;
CREATE INDEX lanes_incident ON lanes (incident_seq);

-- Deliveries take its place.
DROP TABLE notifications;
