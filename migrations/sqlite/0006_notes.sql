-- Notes are looked up by what they say: PagerDuty's webhooks name an incident by its page there, and
-- the note that holds it tells which of ours it is.

CREATE INDEX timeline_notes ON timeline (actor, reason) WHERE kind = 'note';
