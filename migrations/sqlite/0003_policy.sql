-- What people set up besides services and integrations: silences, routes, receivers; and which of
-- all that a policy file made, because that alone may a policy file delete again.

ALTER TABLE services ADD COLUMN managed INTEGER NOT NULL DEFAULT 0 CHECK (managed IN (0, 1));
ALTER TABLE integrations ADD COLUMN managed INTEGER NOT NULL DEFAULT 0 CHECK (managed IN (0, 1));

-- Pending, active or expired follows from the clock. One that is over stays to be read for as long
-- as the alerts that it silenced.
CREATE TABLE silences (
    seq           INTEGER PRIMARY KEY,
    id            BLOB NOT NULL,
    name          TEXT,
    -- JSON, as the API takes it.
    matchers      TEXT NOT NULL,
    -- Null: every service.
    service_seq   INTEGER,
    from_ms       INTEGER,
    until_ms      INTEGER,
    -- JSON; null for one that is on once, from `from_ms` until `until_ms`.
    schedule      TEXT,
    comment       TEXT NOT NULL,
    created_by    TEXT NOT NULL,
    managed       INTEGER NOT NULL CHECK (managed IN (0, 1)),
    version       INTEGER NOT NULL,
    created_at_ms INTEGER NOT NULL,
    -- Ended by hand, which deleting is too.
    expired_at_ms INTEGER,
    CHECK ((schedule IS NULL) = (from_ms IS NOT NULL AND until_ms IS NOT NULL))
) STRICT;
CREATE INDEX silences_not_over ON silences (until_ms) WHERE expired_at_ms IS NULL;

-- Which service takes an event of a shared integration: the first that matches, by position.
CREATE TABLE routes (
    seq           INTEGER PRIMARY KEY,
    id            BLOB NOT NULL,
    position      INTEGER NOT NULL,
    matchers      TEXT NOT NULL,
    service_seq   INTEGER NOT NULL,
    managed       INTEGER NOT NULL CHECK (managed IN (0, 1)),
    version       INTEGER NOT NULL,
    created_at_ms INTEGER NOT NULL
) STRICT;

-- A deleted receiver stays: what it was told of may have to be told its end.
CREATE TABLE receivers (
    seq           INTEGER PRIMARY KEY,
    id            BLOB NOT NULL,
    name          TEXT NOT NULL,
    kind          TEXT NOT NULL,
    -- JSON, without secrets: where the gateway finds them.
    settings      TEXT NOT NULL,
    managed       INTEGER NOT NULL CHECK (managed IN (0, 1)),
    version       INTEGER NOT NULL,
    created_at_ms INTEGER NOT NULL,
    deleted_at_ms INTEGER
) STRICT;
CREATE UNIQUE INDEX receivers_name ON receivers (name) WHERE deleted_at_ms IS NULL;
