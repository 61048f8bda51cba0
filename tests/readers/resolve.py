#!/usr/bin/env python3
"""What a consumer sees that holds another version of a schema than the writer: Avro's schema resolution by fastavro.

resolve.py WRITER.avsc READER.avsc < values in hexadecimal, one a line (in either framing); prints a record a line.
"""

import io
import json
import sys

import fastavro

from consume import framed, without_logical_types


def main():
    writer, reader = (fastavro.parse_schema(without_logical_types(json.load(open(path)))) for path in sys.argv[1:3])
    for line in sys.stdin:
        value = bytes.fromhex(line.strip())
        _, start = framed(value)
        print(json.dumps(fastavro.schemaless_reader(io.BytesIO(value[start:]), writer, reader)))


main()
