-- What each step of an operation has come to. `attempt` rises whenever the step or its undo is begun, and what is written
-- later names it.
CREATE TABLE operation_steps (
    operation_id TEXT NOT NULL REFERENCES operations (id),
    step TEXT NOT NULL,
    attempt BIGINT NOT NULL,
    phase TEXT NOT NULL,
    output TEXT,
    failure TEXT,
    undo_failure TEXT,
    begun_ms BIGINT NOT NULL,
    waits_until_ms BIGINT,
    ended_ms BIGINT,
    PRIMARY KEY (operation_id, step)
);
