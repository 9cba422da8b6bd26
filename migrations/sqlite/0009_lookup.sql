-- What alerts to come are looked up by lies beside the database (see src/store/sqlite/lookup.rs): it
-- follows from open incidents and alerts.

-- JSON array: the hashes under which the incident is found; null where there is none.
ALTER TABLE incidents ADD COLUMN group_hashes TEXT;
UPDATE incidents SET group_hashes = (SELECT json_group_array(k.hash) FROM incident_keys k
    WHERE k.incident_seq = incidents.seq)
    WHERE seq IN (SELECT incident_seq FROM incident_keys);
DROP TABLE incident_keys;
DROP TABLE inhibition_targets;
