-- Answers that are kept for the one who asked (`store`): responses, and chat completions. `sealed` is the answer with what
-- was asked.
CREATE TABLE stored_answers (
    principal TEXT NOT NULL,
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    sealed TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    PRIMARY KEY (principal, kind, id)
);
CREATE INDEX stored_answers_by_age ON stored_answers (created_ms);
