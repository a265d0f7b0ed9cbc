-- What one request of a conversation leaves for the next (sealed), because the caller does not send it again.
CREATE TABLE conversation_state (
    principal TEXT NOT NULL,
    id TEXT NOT NULL,
    sealed TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    PRIMARY KEY (principal, id)
);
CREATE INDEX conversation_state_by_age ON conversation_state (created_ms);
