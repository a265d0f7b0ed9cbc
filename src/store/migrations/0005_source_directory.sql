-- The directory of the repository in which a deployment's build begins; null for the root.
ALTER TABLE deployments ADD COLUMN source_directory TEXT;
