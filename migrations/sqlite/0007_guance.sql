-- What came before: ids that senders gave their messages, so that one that comes again changes nothing.

-- `hash`: the first half of the id's SHA-256. Kept as long as events are.
CREATE TABLE sent_ids (
    integration_seq INTEGER NOT NULL,
    hash            BLOB NOT NULL,
    received_at_ms  INTEGER NOT NULL,
    PRIMARY KEY (integration_seq, hash)
) STRICT, WITHOUT ROWID;
CREATE INDEX sent_ids_received ON sent_ids (received_at_ms);
