CREATE TABLE runs (
    tenant   TEXT    NOT NULL,
    run      TEXT    NOT NULL,
    revision INTEGER NOT NULL CHECK (revision > 0),
    state    TEXT    NOT NULL,
    PRIMARY KEY (tenant, run)
) STRICT;
