#!/usr/bin/env python3
"""What ClickHouse makes of values of several versions in one topic: chdb, which is ClickHouse in a library, reads them one after
the other, as its Kafka engine does.

evolved.py REGISTRY < values in hexadecimal, one a line (Confluent's framing); prints a row a line. The columns are those of the
first value's schema.
"""

import sys
import tempfile

import chdb

SETTINGS = "format_avro_schema_registry_url = '{}', input_format_avro_allow_missing_fields = 1"


def main():
    with tempfile.NamedTemporaryFile(suffix=".avro") as file:
        file.write(b"".join(bytes.fromhex(line.strip()) for line in sys.stdin))
        file.flush()
        query = f"SELECT * FROM file('{file.name}', 'AvroConfluent') SETTINGS {SETTINGS.format(sys.argv[1])}"
        sys.stdout.write(str(chdb.query(query, "JSONEachRow")))


main()
