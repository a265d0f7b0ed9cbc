-- The version of this program that last wrote a row: the one to ask when another cannot read it.
ALTER TABLE operations ADD COLUMN written_by TEXT;
ALTER TABLE deployments ADD COLUMN written_by TEXT;
-- Lists of one state, and the last operation of somebody, without a look at every row.
CREATE INDEX operations_by_state ON operations (state, id);
CREATE INDEX operations_by_principal ON operations (principal, id);
