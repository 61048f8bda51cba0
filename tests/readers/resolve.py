#!/usr/bin/env python3
"""What a consumer sees that holds another version of a schema than the writer: Avro's schema resolution by fastavro.

resolve.py WRITER.avsc READER.avsc < values in hexadecimal, one a line (single-object encoding); prints a record a line.
"""

import io
import json
import sys

import fastavro

HEADER_BYTES = 10


def without_logical_types(schema):
    """The same schema, with instants as the integers that are on the wire."""
    if isinstance(schema, dict):
        return {key: without_logical_types(part) for key, part in schema.items() if key != "logicalType"}
    if isinstance(schema, list):
        return [without_logical_types(part) for part in schema]
    return schema


def main():
    writer, reader = (fastavro.parse_schema(without_logical_types(json.load(open(path)))) for path in sys.argv[1:3])
    for line in sys.stdin:
        value = bytes.fromhex(line.strip())
        print(json.dumps(fastavro.schemaless_reader(io.BytesIO(value[HEADER_BYTES:]), writer, reader)))


main()
