#!/usr/bin/env python3
"""Whether the statements of `imbridge schemas ddl --for clickhouse` do what they say, in chdb, which is ClickHouse in a library.

Its Kafka engine does not run there. So a queue's statement is parsed as it is, and made as a table without storage that has the
column `_key` too; the topic's bytes go into it in the format AvroConfluent, and through the view into the table. After the
arguments of registry.py comes a file with the statements; instead of messages, rows of the tables go out. Then the file of a query
may come: it runs over these tables, and its rows go out instead, one a line.
"""

import json
import re
import sys
import tempfile

from chdb.session import Session

from clickhouse import SETTINGS, messages, plain
from stock import arguments

QUEUE = re.compile(r"CREATE TABLE (\S+) \(\n(.*)\n\)\nENGINE = Kafka\n.*kafka_topic_list = '(\S+)'", re.DOTALL)
VIEW = re.compile(r"CREATE MATERIALIZED VIEW \S+ TO (\S+) AS\nSELECT .* FROM (\S+)")


def literal(text):
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def statements(path):
    with open(path, encoding="utf-8") as file:
        text = re.sub(r"^--.*\n", "", file.read(), flags=re.MULTILINE)
    return [statement.strip() for statement in text.split(";\n") if statement.strip()]


def main():
    options = arguments(__doc__)
    files = options.files
    registry = f"format_avro_schema_registry_url = {literal(options.registry)}, input_format_avro_allow_missing_fields = 1, insert_allow_materialized_columns = 1"
    # Those of the table that the records go into, as clickhouse.py prints them.
    shown = ", ".join(f"{name} = {value}" for name, value in SETTINGS.items() if value)
    queues, tables = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        clickhouse = Session(f"{folder}/data")
        for statement in statements(files[0]):
            if queue := QUEUE.match(statement):
                name, columns, topic = queue.groups()
                clickhouse.query(f"EXPLAIN AST {statement}")
                statement = f"CREATE TABLE {name} (\n{columns},\n `_key` String MATERIALIZED '') ENGINE = Null"
                queues[topic] = (name, columns)
            elif view := VIEW.match(statement):
                table, name = view.groups()
                tables[name] = table
            clickhouse.query(statement)
        found = {topic: all_of_it for topic, all_of_it in messages(options).items() if topic in queues}
        for topic, all_of_it in found.items():
            name, columns = queues[topic]
            for message in all_of_it:
                path = f"{folder}/value.avro"
                with open(path, "wb") as file:
                    file.write(message.value())
                source = f"file({literal(path)}, 'AvroConfluent', {literal(columns)})"
                key = literal(message.key().decode())
                into = ", ".join(re.findall(r"^ *(`\w+`) ", columns, re.MULTILINE))
                clickhouse.query(f"INSERT INTO {name} ({into}, `_key`) SELECT *, {key} FROM {source} SETTINGS {registry}")
        if files[1:]:
            for statement in statements(files[1]):
                print(clickhouse.query(statement, "TSV"), end="")
            return
        for topic in found:
            query = f"SELECT * FROM {tables[queues[topic][0]]} FINAL ORDER BY ALL SETTINGS {shown}"
            for row in str(clickhouse.query(query, "JSONEachRow")).splitlines():
                value = plain(json.loads(row))
                print(json.dumps({"topic": topic, "partition": 0, "key": value.pop("ordering_key"), "value": value}, ensure_ascii=False))


main()
