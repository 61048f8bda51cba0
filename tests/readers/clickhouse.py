#!/usr/bin/env python3
"""What ClickHouse sees of a topic: chdb, which is ClickHouse in a library, reads the messages' bytes in its format AvroConfluent,
as its Kafka engine would, and asks the registry for each schema.

The arguments and the lines that go out are those of registry.py. An instant is milliseconds; columns that ClickHouse cannot have
null are left out where they are empty.
"""

import json
import re
import sys
import tempfile
import time

import chdb
from confluent_kafka import KafkaException

from stock import arguments, consumer

SETTINGS = {
    "format_avro_schema_registry_url": None,
    "date_time_output_format": "'unix_timestamp'",
    "output_format_json_quote_64bit_integers": "0",
}
INSTANT = re.compile(r"^-?\d+\.\d{3}$")


def messages(options):
    """The first messages of every topic, by topic."""
    stream = consumer(options)
    found = {}
    deadline = time.monotonic() + options.timeout_s
    while sum(map(len, found.values())) < options.until_count:
        if time.monotonic() >= deadline:
            sys.exit(f"clickhouse.py: {options.timeout_s} s are over")
        message = stream.poll(0.1)
        if message is None:
            continue
        if message.error():
            raise KafkaException(message.error())
        found.setdefault(message.topic(), []).append(message)
    return found


def rows(values, registry):
    """What ClickHouse makes of a topic's values."""
    settings = ", ".join(f"{name} = {value or repr(registry)}" for name, value in SETTINGS.items())
    with tempfile.NamedTemporaryFile(suffix=".avro") as file:
        file.write(b"".join(values))
        file.flush()
        result = chdb.query(f"SELECT * FROM file('{file.name}', 'AvroConfluent') SETTINGS {settings}", "JSONEachRow")
    return [plain(json.loads(line)) for line in str(result).splitlines()]


def plain(value):
    if isinstance(value, dict):
        shown = {name: plain(part) for name, part in value.items()}
        return {name: part for name, part in shown.items() if part not in (None, [])}
    if isinstance(value, list):
        return [plain(part) for part in value]
    if isinstance(value, str) and INSTANT.match(value):
        return int(value.replace(".", ""))
    return value


def main():
    options = arguments(__doc__)
    for topic, found in messages(options).items():
        for message, value in zip(found, rows([it.value() for it in found], options.registry), strict=True):
            line = {"topic": topic, "partition": message.partition(), "key": message.key().decode(), "value": value}
            print(json.dumps(line, ensure_ascii=False))


if __name__ == "__main__":
    main()
