-- <<topic>> in Flink: a table that reads the topic, with flink-sql-connector-kafka and
-- flink-sql-avro-confluent-registry. Instants are in UTC. Add 'scan.bounded.mode' = 'latest-offset' for a query that
-- ends.
CREATE TABLE <<table>> (
  <<columns>>,
  <<watermark>>
) WITH (
  'connector' = 'kafka',
  'topic' = '<<topic>>',
  'properties.bootstrap.servers' = '<<brokers>>',
  'properties.group.id' = 'flink',
  'properties.isolation.level' = 'read_committed',
  'scan.startup.mode' = 'earliest-offset',<<key>>
  'value.format' = 'avro-confluent',
  'value.avro-confluent.url' = '<<registry>>'
);
