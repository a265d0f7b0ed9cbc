-- Deployments that were removed lately, without a look at all that ever were.
CREATE INDEX removed_deployments_by_time ON deployments (updated_ms) WHERE state = 'removed';
