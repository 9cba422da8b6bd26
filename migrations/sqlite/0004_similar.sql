-- The incidents of a service, newest first: those like another one are looked for among them.
CREATE INDEX incidents_service ON incidents (service_seq, seq);
