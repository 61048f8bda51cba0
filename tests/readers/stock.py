"""What the readers with stock deserializers share: their arguments, and a consumer of everything under a prefix."""

import argparse

from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition


def arguments(words):
    parser = argparse.ArgumentParser(description=words.splitlines()[0])
    parser.add_argument("--brokers", required=True)
    parser.add_argument("--registry", required=True, help="URL of the registry")
    parser.add_argument("--topic-prefix", required=True, help="topics that begin with this and a dot")
    parser.add_argument("--until-count", type=int, required=True, help="so many messages")
    parser.add_argument("files", nargs="*")
    parser.add_argument("--timeout-s", type=float, default=60.0)
    return parser.parse_args()


def consumer(options):
    """Reads each partition of the topics that are there, from its beginning."""
    consumer = Consumer({
        "bootstrap.servers": options.brokers,
        "group.id": "unused: partitions are assigned by hand",
        "enable.auto.commit": False,
        "isolation.level": "read_committed",
        "fetch.wait.max.ms": 50,
    })
    topics = consumer.list_topics(timeout=options.timeout_s).topics
    consumer.assign([
        TopicPartition(name, number, OFFSET_BEGINNING)
        for name, topic in topics.items()
        if name.startswith(f"{options.topic_prefix}.")
        for number in topic.partitions
    ])
    return consumer
