-- Times are milliseconds since 1970, documents are JSON text: the same for SQLite and PostgreSQL.
CREATE TABLE targets (
    id TEXT PRIMARY KEY,
    mode TEXT NOT NULL,
    name TEXT NOT NULL,
    made_here BIGINT NOT NULL,
    locked_by TEXT,
    UNIQUE (mode, name)
);

CREATE TABLE deployments (
    id TEXT PRIMARY KEY,
    mode TEXT NOT NULL,
    state TEXT NOT NULL,
    target_id TEXT NOT NULL REFERENCES targets (id),
    instance_id TEXT NOT NULL,
    name TEXT NOT NULL,
    namespace TEXT NOT NULL,
    repository TEXT NOT NULL,
    git_ref TEXT,
    operation_id TEXT NOT NULL,
    facts TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL
);
CREATE UNIQUE INDEX one_deployment_per_name ON deployments (target_id, namespace, name) WHERE state <> 'removed';

CREATE TABLE versions (
    deployment_id TEXT NOT NULL REFERENCES deployments (id),
    revision BIGINT NOT NULL,
    image TEXT NOT NULL,
    version TEXT NOT NULL,
    PRIMARY KEY (deployment_id, revision)
);

CREATE TABLE operations (
    id TEXT PRIMARY KEY,
    action TEXT NOT NULL,
    principal TEXT NOT NULL,
    intent TEXT NOT NULL,
    plan TEXT NOT NULL,
    dag TEXT,
    state TEXT NOT NULL,
    progress BIGINT NOT NULL,
    deployment_id TEXT NOT NULL REFERENCES deployments (id),
    target_id TEXT NOT NULL REFERENCES targets (id),
    failure TEXT,
    receipt TEXT NOT NULL,
    warnings TEXT NOT NULL,
    cancel_asked BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    ended_ms BIGINT
);
CREATE UNIQUE INDEX one_operation_per_deployment ON operations (deployment_id) WHERE ended_ms IS NULL;
CREATE INDEX operations_of_deployment ON operations (deployment_id, id);

CREATE TABLE request_keys (
    principal TEXT NOT NULL,
    request_key TEXT NOT NULL,
    kind TEXT NOT NULL,
    body_hash TEXT NOT NULL,
    operation_id TEXT NOT NULL REFERENCES operations (id),
    created_ms BIGINT NOT NULL,
    PRIMARY KEY (principal, request_key)
);

CREATE TABLE operation_events (
    operation_id TEXT NOT NULL REFERENCES operations (id),
    sequence BIGINT NOT NULL,
    at_ms BIGINT NOT NULL,
    event TEXT NOT NULL,
    PRIMARY KEY (operation_id, sequence)
);

CREATE TABLE saga_log (
    operation_id TEXT NOT NULL REFERENCES operations (id),
    position BIGINT NOT NULL,
    node_id BIGINT NOT NULL,
    event TEXT NOT NULL,
    PRIMARY KEY (operation_id, position)
);

CREATE TABLE secrets (
    operation_id TEXT NOT NULL REFERENCES operations (id),
    name TEXT NOT NULL,
    sealed TEXT NOT NULL,
    PRIMARY KEY (operation_id, name)
);
