#!/usr/bin/env python3
"""What a Python consumer has: Confluent's client with its own AvroDeserializer, which asks the registry for each schema.

It knows no schema file. One JSON line goes out for each message of the topics that begin with the prefix; messages of one
partition come in the order of their offsets, and instants are milliseconds. Exit code 4 when the time ran out first.
"""

import datetime
import json
import sys
import time

from confluent_kafka import KafkaException
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

from stock import arguments, consumer

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)


def milliseconds(value):
    if isinstance(value, datetime.datetime):
        return (value - EPOCH) // datetime.timedelta(milliseconds=1)
    raise TypeError(f"no JSON for {type(value)}")


def run(options):
    deserialize = AvroDeserializer(SchemaRegistryClient({"url": options.registry, "timeout": 20}))
    messages = consumer(options)
    deadline = time.monotonic() + options.timeout_s
    seen = 0
    while seen < options.until_count:
        if time.monotonic() >= deadline:
            print(f"registry.py: {options.timeout_s} s are over after {seen} messages", file=sys.stderr)
            return 4
        message = messages.poll(0.1)
        if message is None:
            continue
        if message.error():
            raise KafkaException(message.error())
        value = deserialize(message.value(), SerializationContext(message.topic(), MessageField.VALUE))
        line = {
            "topic": message.topic(),
            "partition": message.partition(),
            "key": message.key().decode(),
            "value": value,
        }
        print(json.dumps(line, default=milliseconds, ensure_ascii=False))
        seen += 1
    return 0


if __name__ == "__main__":
    sys.exit(run(arguments(__doc__)))
