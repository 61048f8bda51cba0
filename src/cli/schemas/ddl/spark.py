# <<topic>> as a table of Spark. Records of every version get the columns of the newest schema. Run it with
#   spark-submit --packages org.apache.spark:spark-sql-kafka-0-10_2.13:4.2.0,org.apache.spark:spark-avro_2.13:4.2.0 FILE
import json
from urllib.request import urlopen

from pyspark.sql import SparkSession, functions as sql
from pyspark.sql.avro.functions import from_avro

BROKERS, REGISTRY = "<<brokers>>", "<<registry>>"
TOPIC, TABLE, CHECKPOINT = "<<topic>>", "<<table>>", "checkpoints/<<table>>"


def versions(path=""):
    with urlopen(f"{REGISTRY}/subjects/{TOPIC}-value/versions{path}") as answer:
        return json.load(answer)


# Spark does not know Confluent's framing: a zero byte, the schema's id as four bytes, the record. Each record is read
# with the schema that it was written with. A schema that is newer than this query stops it; after a restart it
# continues from there.
spark = SparkSession.builder.appName(TABLE).getOrCreate()
written = [versions(f"/{number}") for number in versions()]
options = {"avroSchema": written[-1]["schema"], "mode": "FAILFAST"}
schema_id = sql.expr("cast(conv(hex(substring(value, 2, 4)), 16, 10) as int)")
record = sql.raise_error(sql.concat(sql.lit("new schema, restart this query: "), schema_id.cast("string")))
for version in written:
    known = from_avro(sql.expr("substring(value, 6)"), version["schema"], options)
    record = sql.when(schema_id == version["id"], known).otherwise(record)

messages = spark.readStream.format("kafka").options(**{
    "kafka.bootstrap.servers": BROKERS,
    "kafka.isolation.level": "read_committed",
    "subscribe": TOPIC,
    "startingOffsets": "earliest",
}).load()
rows = messages.select(sql.col("key").cast("string").alias("ordering_key"), record.alias("record")).select(<<selected>>)
rows.writeStream.option("checkpointLocation", CHECKPOINT).toTable(TABLE).awaitTermination()
