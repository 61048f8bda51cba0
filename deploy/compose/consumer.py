#!/usr/bin/env python3
"""A sample consumer: prints every event of the bridge's topics as one line of JSON, decoded with the schemas of the registry.

It belongs to a consumer group, so several consumers share the partitions. It commits the offsets of what it has printed. In rare
cases a fault causes an event to come twice, with the same ce_id. A consumer that cannot accept that must compare the ce_id.
"""

import argparse
import json
import signal
import sys

from confluent_kafka import Consumer, KafkaError, KafkaException
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext


def decoded(message, deserialize):
    """The record; what has no schema - unknown commands, dead letters - as text."""
    headers = dict(message.headers() or [])
    value = message.value()
    if headers.get("content-type") == b"application/avro":
        return deserialize(value, SerializationContext(message.topic(), MessageField.VALUE))
    return value.decode(errors="replace")


def run(options):
    deserialize = AvroDeserializer(SchemaRegistryClient({"url": options.registry}))
    consumer = Consumer({
        "bootstrap.servers": options.brokers,
        "group.id": options.group,
        "auto.offset.reset": "earliest",
        "isolation.level": "read_committed",
        "topic.metadata.refresh.interval.ms": 10_000,  # the bridge may create its topics later
        "enable.auto.offset.store": False,
    })
    # Without the timeline, which has each event once more.
    consumer.subscribe([f"^{options.topic_prefix}\\.(tencent\\..*|openim\\..*|dead-letter)$"])
    printed = 0
    try:
        while options.until_count is None or printed < options.until_count:
            message = consumer.poll(1.0)
            if message is None:
                continue
            if message.error():
                if message.error().code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                    continue
                raise KafkaException(message.error())
            line = {
                "topic": message.topic(),
                "partition": message.partition(),
                "offset": message.offset(),
                "key": (message.key() or b"").decode(errors="replace"),
                "id": dict(message.headers() or []).get("ce_id", b"").decode(errors="replace"),
                "value": decoded(message, deserialize),
            }
            print(json.dumps(line, default=str, ensure_ascii=False), flush=True)
            consumer.store_offsets(message)
            printed += 1
    finally:
        consumer.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--brokers", required=True)
    parser.add_argument("--registry", required=True, help="URL of the registry")
    parser.add_argument("--topic-prefix", default="im", help="topics that begin with this and a dot")
    parser.add_argument("--group", default="sample")
    parser.add_argument("--until-count", type=int, help="end after so many events")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    run(parser.parse_args())


if __name__ == "__main__":
    main()
