ALTER TABLE runs ADD COLUMN session TEXT;

UPDATE runs SET session = json_extract(state, '$.settings.session') WHERE json_valid(state);

CREATE INDEX runs_of_a_session ON runs (tenant, session) WHERE session IS NOT NULL;
