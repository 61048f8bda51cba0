-- im.timeline in ClickHouse: the table, a queue that reads the topic, and a view that copies records from the queue to
-- the table. An event that Kafka has twice becomes one row when ClickHouse merges. Before that, SELECT ... FINAL shows
-- it once.
CREATE TABLE `timeline` (
  `ordering_key` String,
  `group_id` Nullable(String),
  `app` String,
  `provider` String,
  `command` String,
  `phase` Nullable(String),
  `kind` Nullable(String),
  `actor` Nullable(String),
  `targets` Array(String),
  `event_id` String,
  `spool` String,
  `seq` Int64,
  `part` Int32,
  `event_time` Nullable(DateTime64(3, 'UTC')),
  `received_at` DateTime64(3, 'UTC'),
  `body` Nullable(String)
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(`received_at`)
ORDER BY (`app`, `ordering_key`, `spool`, `seq`, `part`);

CREATE TABLE `timeline_queue` (
  `ordering_key` String,
  `group_id` Nullable(String),
  `app` String,
  `provider` String,
  `command` String,
  `phase` Nullable(String),
  `kind` Nullable(String),
  `actor` Nullable(String),
  `targets` Array(String),
  `event_id` String,
  `spool` String,
  `seq` Int64,
  `part` Int32,
  `event_time` Nullable(DateTime64(3, 'UTC')),
  `received_at` DateTime64(3, 'UTC'),
  `body` Nullable(String)
)
ENGINE = Kafka
SETTINGS
  kafka_broker_list = 'kafka:19092',
  kafka_topic_list = 'im.timeline',
  kafka_group_name = 'clickhouse-timeline',
  kafka_format = 'AvroConfluent',
  format_avro_schema_registry_url = 'http://bridge:8081',
  input_format_avro_allow_missing_fields = 1;

CREATE MATERIALIZED VIEW `timeline_view` TO `timeline` AS
SELECT * FROM `timeline_queue`;
