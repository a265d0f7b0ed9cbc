-- Where a target lies in the cloud, known before anything is made, and the instance once it is there (JSON).
ALTER TABLE targets ADD COLUMN region TEXT;
ALTER TABLE targets ADD COLUMN instance TEXT;
