-- What a start of a device must have sent: from 0 where an earlier start is known, and up to what it said it made.
ALTER TABLE boots ADD COLUMN place BIGINT DEFAULT 0;
ALTER TABLE boots ADD COLUMN made BIGINT DEFAULT 0;
