-- <<topic>> in ClickHouse: the table, a queue that reads the topic, and a view that copies records from the queue to
-- the table. An event that Kafka has twice becomes one row when ClickHouse merges. Before that, SELECT ... FINAL shows
-- it once.
CREATE TABLE <<table>> (
  <<columns>>
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(<<received_at>>)
ORDER BY (<<order>>);

CREATE TABLE <<table_queue>> (
  <<fields>>
)
ENGINE = Kafka
SETTINGS
  kafka_broker_list = '<<brokers>>',
  kafka_topic_list = '<<topic>>',
  kafka_group_name = 'clickhouse-<<name>>',
  kafka_format = 'AvroConfluent',
  format_avro_schema_registry_url = '<<registry>>',
  input_format_avro_allow_missing_fields = 1;

CREATE MATERIALIZED VIEW <<table_view>> TO <<table>> AS
SELECT <<selected>> FROM <<table_queue>>;
