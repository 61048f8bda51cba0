-- <<topic>> in PostgreSQL: lists and what no field holds are jsonb, a record's fields are columns, as Kafka Connect's Flatten names them.
CREATE TABLE <<table>> (
  <<columns>>,
  PRIMARY KEY (<<event_id>>)
);
CREATE INDEX ON <<table>> (<<order>>);

-- To load it, for each message: $1 is its key and $2 its record as JSON, "key" and "event" of the lines of `imbridge tail --json`.
-- An event that is there already stays as it is.
--
-- INSERT INTO <<table>>
-- SELECT
--   <<values>>
-- FROM (SELECT $1::text, $2::jsonb) AS message (key, record)
-- ON CONFLICT DO NOTHING;
