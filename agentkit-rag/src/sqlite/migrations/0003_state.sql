CREATE TABLE state (
    kind     TEXT    NOT NULL,
    tenant   TEXT    NOT NULL,
    id       TEXT    NOT NULL,
    revision INTEGER NOT NULL CHECK (revision > 0),
    value    TEXT    NOT NULL,
    PRIMARY KEY (kind, tenant, id)
) STRICT, WITHOUT ROWID;
