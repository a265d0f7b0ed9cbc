-- Browsers that are signed in to the console. `id` is the SHA-256 of the cookie. A session is either of a key, and then
-- `secret_hash` is the SHA-256 of the secret that was shown; or of a person whom `issuer` has signed in, until `ends_ms`.
CREATE TABLE sessions (
    id TEXT PRIMARY KEY,
    secret_hash TEXT,
    issuer TEXT,
    principal TEXT,
    name TEXT,
    role TEXT,
    ends_ms BIGINT,
    created_ms BIGINT NOT NULL,
    used_ms BIGINT NOT NULL
);
CREATE INDEX sessions_by_use ON sessions (used_ms);
