CREATE TABLE sessions (
    tenant   TEXT    NOT NULL,
    session  TEXT    NOT NULL,
    messages INTEGER NOT NULL CHECK (messages > 0),
    PRIMARY KEY (tenant, session)
) STRICT, WITHOUT ROWID;

CREATE TABLE messages (
    tenant   TEXT    NOT NULL,
    session  TEXT    NOT NULL,
    position INTEGER NOT NULL,
    message  TEXT    NOT NULL,
    PRIMARY KEY (tenant, session, position),
    FOREIGN KEY (tenant, session) REFERENCES sessions (tenant, session) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
