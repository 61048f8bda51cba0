#!/usr/bin/env python3
"""What a consumer sees that holds another version of a schema than the writer: Avro's schema resolution by fastavro.

resolve.py WRITER.avsc READER.avsc < values in hexadecimal, one a line (in either framing); prints a record a line.
Instants become datetimes as with any stock reader, and are printed in milliseconds.
"""

import datetime
import io
import json
import sys

import fastavro

from consume import framed

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)


def milliseconds(value):
    if isinstance(value, datetime.datetime):
        return (value - EPOCH) // datetime.timedelta(milliseconds=1)
    raise TypeError(f"no JSON for {type(value)}")


def main():
    writer, reader = (fastavro.parse_schema(json.load(open(path))) for path in sys.argv[1:3])
    for line in sys.stdin:
        value = bytes.fromhex(line.strip())
        _, start = framed(value)
        record = fastavro.schemaless_reader(io.BytesIO(value[start:]), writer, reader)
        print(json.dumps(record, default=milliseconds))


main()
