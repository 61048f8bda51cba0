#!/usr/bin/env python3
"""What a consumer sees that holds another version of a schema than the writer: Avro's schema resolution by fastavro.

resolve.py WRITER.avsc READER.avsc < values in hexadecimal, one a line; prints a record a line. Instants become datetimes as
with any stock reader, and are printed in milliseconds.
"""

import datetime
import io
import json
import sys

import fastavro

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
SINGLE_OBJECT, HEADER_BYTES, CONFLUENT_BYTES = b"\xc3\x01", 10, 5


def milliseconds(value):
    if isinstance(value, datetime.datetime):
        return (value - EPOCH) // datetime.timedelta(milliseconds=1)
    raise TypeError(f"no JSON for {type(value)}")


def main():
    writer, reader = (fastavro.parse_schema(json.load(open(path))) for path in sys.argv[1:3])
    for line in sys.stdin:
        value = bytes.fromhex(line.strip())
        header = HEADER_BYTES if value.startswith(SINGLE_OBJECT) else CONFLUENT_BYTES
        record = fastavro.schemaless_reader(io.BytesIO(value[header:]), writer, reader)
        print(json.dumps(record, default=milliseconds))


main()
