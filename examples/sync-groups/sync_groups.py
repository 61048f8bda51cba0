"""Keeps a copy of the groups of Tencent Cloud Chat and OpenIM in PostgreSQL, from the timeline.
It can be killed at any moment: rows and offsets change in one transaction. It ends at each fault."""

import json
from os import environ

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from pg8000.native import Connection

TOPIC = environ.get("TOPIC", "im.timeline")
INFO = dict(name="name", groupname="name", introduction="introduction", notification="notification", faceurl="picture")


def info(event, body):
    """The fields of an event that describe the group. A null changes nothing, nor does "" in OpenIM's older API."""
    nothing = (None, "") if event["command"] == "callbackAfterSetGroupInfoCommand" else (None,)
    return {INFO[name.lower()]: value for name, value in body.items() if name.lower() in INFO and value not in nothing}


def custom(old, body):
    """The custom attributes after a change: "set" replaces all, "modify" some; "delete" removes some, "clear" all."""
    change, listed = body.get("OptionType"), body.get("GroupAttr") or []
    kept = {} if change in ("set", "clear") else old
    new = kept | {each.get("key"): None if change in ("delete", "clear") else each.get("value") for each in listed}
    return {key: value for key, value in new.items() if value is not None}


def storable(found):
    """A JSON object without characters that PostgreSQL refuses in a text: NUL and unpaired surrogates."""
    texts = {name: value for name, value in found.items() if isinstance(value, str)}
    return found | {name: text.encode(errors="replace").decode().replace("\0", "?") for name, text in texts.items()}


def after(group, event):
    """The group (owner, attributes, members) after an event; None if it does not exist or its creation is not known."""
    kind, targets, body = event["kind"], event["targets"], json.loads(event["body"] or "{}", object_hook=storable)
    if kind == "group.created":
        return next(iter(targets), None) or None, {**info(event, body), "custom": {}}, {who for who in targets if who}
    if group is None or kind == "group.destroyed":
        return None
    owner, attributes, members = group
    if kind == "group.owner_changed":
        owner, members = next(iter(targets), None), members | set(targets)
    elif kind == "members.joined":
        members = members | set(targets)
    elif kind == "members.left":
        members = members - set(targets)
    elif kind == "group.attributes_changed":
        attributes = {**attributes, "custom": custom(attributes["custom"], body)}
    elif kind in ("group.info_changed", "group.muted", "group.unmuted"):
        attributes = {**attributes, **info(event, body)}
    return owner, attributes, members


def apply(event):
    """Updates the row of an event's group."""
    key = {"app": event["app"], "id": event["group_id"]}
    rows = sql("SELECT owner, attributes, members FROM groups WHERE app = :app AND id = :id", **key)
    old = (rows[0][0], rows[0][1], set(rows[0][2])) if rows else None
    if (new := after(old, event)) == old:
        return
    sql("DELETE FROM groups WHERE app = :app AND id = :id", **key)
    if new:
        sql("INSERT INTO groups VALUES (:app, :id, :owner, :attributes, :members, :position)", **key, owner=new[0],
            attributes=json.dumps(new[1]), members=sorted(new[2]), position="{spool}/{seq}.{part}".format(**event))


def take(messages):
    """Applies messages in one transaction, except those that this or another process has applied before."""
    sql("START TRANSACTION")
    seen, offsets = dict(sql("SELECT partition, seen FROM positions ORDER BY partition FOR UPDATE")), {}
    for message in messages:
        if message.error():
            raise KafkaException(message.error())
        event, last = decode(message.value()), seen[message.partition()]
        offsets[message.partition()], position = message.offset() + 1, [event["seq"], event["part"]]
        if position > last.get(event["spool"], [0, 0]):
            last[event["spool"]] = position
            if event["group_id"] is not None and (event["kind"] or "").startswith(("group.", "members.")):
                apply(event)
    for number, offset in offsets.items():
        sql("UPDATE positions SET next_offset = greatest(next_offset, :offset), seen = :seen WHERE partition = :number",
            number=number, offset=offset, seen=json.dumps(seen[number]))
    sql("COMMIT")


sql = Connection(environ.get("PGUSER", "postgres"), environ.get("PGHOST", "localhost"), environ.get("PGDATABASE"),
                 int(environ.get("PGPORT", 5432)), environ.get("PGPASSWORD")).run
decode = AvroDeserializer(SchemaRegistryClient({"url": environ.get("REGISTRY", "http://localhost:8081")}))
# Offsets are in the database. If Kafka has deleted an offset, the copy lacks events: it ends, and must be rebuilt.
consumer = Consumer({"bootstrap.servers": environ.get("KAFKA", "localhost:9092"), "group.id": "sync-groups",
                     "enable.auto.commit": False, "auto.offset.reset": "error"})
while not (partitions := consumer.list_topics(TOPIC, 10).topics[TOPIC].partitions):
    consumer.poll(1)  # The topic is created for the first event.
sql("INSERT INTO positions SELECT unnest(CAST(:numbers AS int[])) ON CONFLICT DO NOTHING", numbers=list(partitions))
consumer.assign([TopicPartition(TOPIC, *row) for row in sql("SELECT partition, next_offset FROM positions")])
while True:
    take(consumer.consume(1, 1.0) + consumer.consume(999, 0))
