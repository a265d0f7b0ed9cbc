-- The EKS cluster that a target is, once it is there (JSON).
ALTER TABLE targets ADD COLUMN cluster TEXT;
