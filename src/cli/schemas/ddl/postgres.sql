-- <<topic>> in PostgreSQL: lists and maps are jsonb. A record's fields are columns, named as by Kafka Connect's
-- Flatten.
CREATE TABLE <<table>> (
  <<columns>>,
  PRIMARY KEY (<<event_id>>)
);
CREATE INDEX ON <<table>> (<<order>>);

-- The statement to load a message: $1 is its key and $2 its record as JSON, which are "key" and "event" in `imbridge
-- tail --json`. An event that is already in the table does not change.
--
-- INSERT INTO <<table>>
-- SELECT
--   <<values>>
-- FROM (SELECT $1::text, $2::jsonb) AS message (key, record)
-- ON CONFLICT DO NOTHING;
