#!/usr/bin/env python3
"""An independent reader: prints what the bridge wrote, read by other people's code.

It shares nothing with the bridge but the schema files. Kafka is read by confluent-kafka, Avro by fastavro, which also
computes the fingerprints that tell which schema a record was written with, and the bridge's ids, which are made of them. One JSON line goes out for each message;
messages of one partition come in the order of their offsets, and long integers are exact.

Exit code 0 when everything was read, 3 when a message breaks a promise that this reader relies on (two headers of one
name, text that is not UTF-8, bytes after a record, another position in the record than in the headers), 4 when the time ran out first; what was read has been printed then.
"""

import argparse
import base64
import io
import json
import pathlib
import re
import sys
import time

import fastavro
from confluent_kafka import Consumer, KafkaError, KafkaException, OFFSET_BEGINNING, TopicPartition

BATCH = 10_000
REFRESH_S = 1.0
SINGLE_OBJECT = b"\xc3\x01"
CONFLUENT = b"\0"

to_json = json.JSONEncoder(separators=(",", ":")).encode


class BrokenPromise(Exception):
    """A message that cannot be shown without losing something."""


class Schemas:
    """The schema files, by what stands in front of their records: the fingerprint, or the id."""

    def __init__(self, folder):
        self.known = {}
        for path in sorted(pathlib.Path(folder).glob("*/*/v*.avsc")):
            source = json.loads(path.read_text(encoding="utf-8"))
            canonical = fastavro.schema.to_parsing_canonical_form(source)
            fingerprint = bytes.fromhex(fastavro.schema.fingerprint(canonical, "CRC-64-AVRO"))
            name = path.relative_to(folder).with_suffix("").as_posix()
            id = max(int.from_bytes(fingerprint, "little") & 0x7FFF_FFFF, 1).to_bytes(4, "big")
            self.known[fingerprint] = self.known[id] = (name, fastavro.parse_schema(without_logical_types(source)))

    def show(self, value):
        """The members of the output line that tell what a value holds."""
        if value is None:
            return {"value": None}
        named, start = framed(value)
        known = self.known.get(named)
        if known is None:
            return {"raw_base64": base64.b64encode(value).decode()}
        name, schema = known
        body = io.BytesIO(value)
        body.seek(start)
        record = fastavro.schemaless_reader(body, schema)
        if body.tell() != len(value):
            raise BrokenPromise(f"{len(value) - body.tell()} bytes follow the record of {name}")
        return {"schema": name, "value": record}


def framed(value):
    """What names a value's schema, and where its record begins."""
    if value.startswith(SINGLE_OBJECT):
        return value[2:10], 10
    if value.startswith(CONFLUENT):
        return value[1:5], 5
    return None, 0


def without_logical_types(schema):
    """The same schema, with instants as the integers that are on the wire."""
    if isinstance(schema, dict):
        return {key: without_logical_types(part) for key, part in schema.items() if key != "logicalType"}
    if isinstance(schema, list):
        return [without_logical_types(part) for part in schema]
    return schema


def check_position(record, headers):
    """A record, its own topic's or the timeline's, must say the position that its message's headers tell."""
    if record is None:
        return
    seq, part = ("spool_seq", "spool_part") if "spool_seq" in record else ("seq", "part")
    says = (record["spool"], f"{record[seq]}.{record[part]}")
    told = (headers.get("imbridge-spool"), headers.get("imbridge-seq"))
    if says != told:
        raise BrokenPromise(f"the record says the position {says}, the headers {told}")


def line_of(message, schemas):
    headers = message.headers() or []
    shown = {name: None if value is None else value.decode() for name, value in headers}
    if len(shown) != len(headers):
        raise BrokenPromise("two headers have one name")
    key = message.key()
    line = {
        "topic": message.topic(),
        "partition": message.partition(),
        "offset": message.offset(),
        "timestamp": message.timestamp()[1],
        "key": None if key is None else key.decode(),
        "headers": shown,
    }
    if schemas is not None:
        line.update(schemas.show(message.value()))
        check_position(line.get("value"), shown)
    return to_json(line)


class Reader:
    """A consumer without a group, on every partition of every topic that matches; of the timeline's only where that is asked for."""

    def __init__(self, brokers, prefix, isolation, timeline=False):
        others = "" if timeline else "(?!timeline$)"
        self.wanted = re.compile(rf"^{re.escape(prefix)}\.{others}")
        self.consumer = Consumer({
            "bootstrap.servers": brokers,
            "group.id": "unused: partitions are assigned by hand",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "isolation.level": isolation,
            "check.crcs": True,
            "fetch.wait.max.ms": 50,
            "queued.min.messages": 200_000,
            "log_level": 2,
        })
        # Partitions whose end has not been reached, with the end offset that their first answer told.
        self.unfinished = {}
        self.assigned = set()

    def assign(self, timeout_s):
        """Adds the partitions that are new since the last call."""
        topics = self.consumer.list_topics(timeout=timeout_s).topics
        found = {(name, number) for name, topic in topics.items() if self.wanted.match(name) for number in topic.partitions}
        new = sorted(found - self.assigned)
        if new:
            self.consumer.incremental_assign([TopicPartition(*place, OFFSET_BEGINNING) for place in new])
            self.assigned.update(new)
            self.unfinished.update(dict.fromkeys(new))

    def read(self):
        """The next messages, perhaps none."""
        messages = []
        for message in self.consumer.consume(BATCH, 0.1):
            place = (message.topic(), message.partition())
            error = message.error()
            if error is None:
                messages.append(message)
                self.note(place, message.offset())
            elif error.code() == KafkaError._PARTITION_EOF:
                # Says it too where the last offsets are markers of transactions, which are never delivered.
                self.unfinished.pop(place, None)
            else:
                raise KafkaException(error)
        return messages

    def note(self, place, offset):
        if place not in self.unfinished:
            return
        if self.unfinished[place] is None:
            self.unfinished[place] = self.consumer.get_watermark_offsets(TopicPartition(*place), cached=True)[1]
        if offset + 1 >= self.unfinished[place] >= 0:
            del self.unfinished[place]


def run(options):
    deadline = time.monotonic() + options.timeout_s
    schemas = None if options.headers_only else Schemas(options.schemas)
    reader = Reader(options.brokers, options.topic_prefix, options.isolation, options.timeline)
    reader.assign(options.timeout_s)
    refresh = time.monotonic() + REFRESH_S
    seen = 0
    while True:
        done = not reader.unfinished if options.until_count is None else seen >= options.until_count
        if done:
            return 0
        if time.monotonic() >= deadline:
            print(f"consume.py: {options.timeout_s} s are over after {seen} messages", file=sys.stderr)
            return 4
        if options.until_count is not None and time.monotonic() >= refresh:
            reader.assign(options.timeout_s)
            refresh = time.monotonic() + REFRESH_S
        lines = []
        for message in reader.read():
            try:
                lines.append(line_of(message, schemas))
            except (BrokenPromise, UnicodeDecodeError, EOFError, ValueError, IndexError) as problem:
                place = f"{message.topic()}/{message.partition()}@{message.offset()}"
                print(f"consume.py: {place}: {problem}", file=sys.stderr)
                return 3
        if lines:
            sys.stdout.write("\n".join(lines) + "\n")
            sys.stdout.flush()
            seen += len(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--brokers", required=True)
    parser.add_argument("--schemas", default="schemas", help="folder of <provider>/<Command>/v<N>.avsc")
    parser.add_argument("--topic-prefix", default="im", help="topics that begin with this and a dot")
    parser.add_argument("--timeline", action="store_true", help="the timeline's messages too, which has each event once more")
    parser.add_argument("--until-count", type=int, help="wait for so many messages, instead of the present ends")
    parser.add_argument("--timeout-s", type=float, default=30.0)
    parser.add_argument("--isolation", choices=["read_uncommitted", "read_committed"], default="read_committed")
    parser.add_argument("--headers-only", action="store_true", help="leave the values out")
    try:
        sys.exit(run(parser.parse_args()))
    except KafkaException as problem:
        sys.exit(f"consume.py: {problem}")


if __name__ == "__main__":
    main()
