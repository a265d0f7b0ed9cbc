-- Keys of callers. A key that was revoked stays on record, and so does one that has ended. `rights` is JSON.
CREATE TABLE api_keys (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    role TEXT NOT NULL,
    rights TEXT NOT NULL,
    asks BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    expires_ms BIGINT,
    revoked_ms BIGINT
);
CREATE UNIQUE INDEX one_valid_key_per_name ON api_keys (name) WHERE revoked_ms IS NULL;

-- The secrets of a key as SHA-256 (hexadecimal): one, and for a while those from before it was rotated.
CREATE TABLE api_key_secrets (
    hash TEXT PRIMARY KEY,
    key_id TEXT NOT NULL REFERENCES api_keys (id),
    created_ms BIGINT NOT NULL,
    expires_ms BIGINT
);
CREATE INDEX secrets_of_key ON api_key_secrets (key_id);

-- Who did what, only ever appended. `line` is the whole entry as JSON; the other columns repeat of it what entries are
-- looked up by.
CREATE TABLE audit (
    sequence BIGINT PRIMARY KEY,
    at_ms BIGINT NOT NULL,
    event TEXT NOT NULL,
    principal TEXT NOT NULL,
    action TEXT,
    deployment_id TEXT,
    operation_id TEXT,
    line TEXT NOT NULL
);
CREATE INDEX audit_of_time ON audit (at_ms);
CREATE INDEX audit_of_principal ON audit (principal, sequence);
CREATE INDEX audit_of_deployment ON audit (deployment_id, sequence);
CREATE INDEX audit_of_operation ON audit (operation_id, sequence);

-- The last entry: who appends takes its row first.
CREATE TABLE audit_head (
    id BIGINT PRIMARY KEY,
    sequence BIGINT NOT NULL,
    hash TEXT NOT NULL
);
INSERT INTO audit_head (id, sequence, hash)
VALUES (1, 0, '0000000000000000000000000000000000000000000000000000000000000000');
