-- What a Terraform workspace owns, on record before anything is made with it. `owner` is a target or a deployment;
-- `state_schema` is null where the state lies in the workspace's folder; account and caller are null for what a version
-- made that kept files only.
CREATE TABLE terraform_workspaces (
    owner TEXT NOT NULL,
    module TEXT NOT NULL,
    account TEXT,
    caller TEXT,
    region TEXT NOT NULL,
    state_schema TEXT,
    variables TEXT NOT NULL,
    operation_id TEXT,
    begun_ms BIGINT NOT NULL,
    PRIMARY KEY (owner, module)
);

-- Programs that outlive the server. `boot_id` is null for those on a machine that is reached by ssh; number and start time of
-- the process are null until it is known.
CREATE TABLE calls (
    run_id TEXT PRIMARY KEY,
    operation_id TEXT NOT NULL,
    step TEXT NOT NULL,
    name TEXT NOT NULL,
    boot_id TEXT,
    process_id BIGINT,
    process_start BIGINT,
    grace_s BIGINT NOT NULL,
    timeout_s BIGINT NOT NULL,
    begun_ms BIGINT NOT NULL,
    ended_ms BIGINT
);
CREATE INDEX calls_of_operation ON calls (operation_id, step, name);

-- The containers that are the nodes of a kind cluster that this server made (JSON).
ALTER TABLE targets ADD COLUMN nodes TEXT;
