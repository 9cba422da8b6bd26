-- Whether a receiver that is told of each alert was told of one is asked by the alert: incidents that
-- it was in may have been merged into others, and a lane may be that of a key.
CREATE INDEX deliveries_alert ON deliveries (alert_seq, seq) WHERE alert_seq IS NOT NULL;
