#!/usr/bin/env python3
"""The judge of a load: holds what is in Kafka against the ledgers of what was acknowledged (`examples/oracle`).

It shares nothing with the bridge but the schema files: group and number of an event come from its decoded record, never
from a header that the bridge adds. One byte is kept for each event, so that millions are judged in little memory. One JSON
object goes out:

  acknowledged                events that got the provider's success as their answer
  found                       events of the load in Kafka, each counted once
  messages                    messages of the load in Kafka, doubles too
  acknowledged_and_missing    acknowledged, and nowhere in their topic; one that became a dead letter is missing too, unless Kafka
                              refused it (reasons refused, topic_refused) and --refused-count is given
  twice                       messages of an event that was there before
  out_of_order                messages seen for the first time behind a later event of their group in their partition; with
                              --answer-hold-ms only acknowledged ones that are not late (see below)
  several_partitions          groups in more than one partition
  wrong_key                   messages whose key is not their group
  never_posted                events of a group of the load with a number that no ledger has
  unacknowledged_yet_present  posted, not acknowledged, there all the same: allowed
  late_by_header              messages with the header imbridge-late, } of which no order is asked,
  late_by_time                further messages that are late by time  } counted with --answer-hold-ms only
  ordered                     messages of acknowledged events whose order was judged
  foreign                     messages that are no event of these ledgers: not judged
  dead_lettered               dead letters by their reason
  partitions                  how many partitions the groups are in
  examples                    the first faults in words

Several bridges that answer after Kafka have one spool each and share the groups (--answer-hold-ms, their
server.answer_hold_ms). An event that was acknowledged before another one of its group was posted then stands before it, and
the load posts a group's events one after the other: so an acknowledged event stands before all with higher numbers, whatever
became of those. Nothing is claimed for an event without a success, nor for a late one, whose answer may have come before Kafka
had it: one with the header, and one whose time in Kafka is answer_hold_ms or more after its imbridge-received-at. Both times
are cut to milliseconds, so that one of exactly answer_hold_ms may be above it. The clocks are those of one machine.

Exit code 0 when nothing is missing, twice, out of order, in several partitions, under a wrong key or never posted; else 1. 3 when
a message cannot be read, 4 when Kafka was silent for too long.
"""

import argparse
import json
import sys
import time
from collections import Counter

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, KafkaException

from consume import BrokenPromise, Reader, Schemas

# Where the load writes group and number: the fields of the two commands that it posts.
FIELDS = {
    "tencent.Group.CallbackAfterCreateGroup": ("GroupId", "Name"),
    "openim.callbackAfterTransferGroupOwnerCommand": ("groupID", "newOwnerUserID"),
}
DEAD_LETTER = "dead-letter"
REFUSED = {"refused", "topic_refused"}
POSTED, ACKNOWLEDGED, FOUND = 1, 2, 4
FAULTS = ["acknowledged_and_missing", "twice", "out_of_order", "several_partitions", "wrong_key", "never_posted"]
EXAMPLES_MAX = 20


class Group:
    """One group's events, a byte for each number, and the last number seen in each partition."""

    __slots__ = ("last", "states")

    def __init__(self):
        self.states = bytearray()
        self.last = {}


class Judge:
    def __init__(self, prefix, refused_count=False, answer_hold_ms=None):
        self.refused_count, self.prefix, self.answer_hold_ms = refused_count, prefix, answer_hold_ms
        self.fields = {f"{prefix}.{topic}": fields for topic, fields in FIELDS.items()}
        self.dead_letters = f"{prefix}.{DEAD_LETTER}"
        self.groups = {}
        self.counts = Counter()
        self.reasons = Counter()
        self.places = set()
        self.examples = []

    def read_ledger(self, path):
        """Notes what was posted and what was acknowledged. A last line that breaks off, as after a crash, does not count."""
        with open(path, encoding="utf-8") as lines:
            for line in lines:
                if not line.endswith("\n"):
                    break
                entry = json.loads(line)
                group = self.groups.get(entry["group"])
                if group is None:
                    group = self.groups[entry["group"]] = Group()
                states, number = group.states, entry["number"]
                if number >= len(states):
                    states.extend(bytes(number + 1 - len(states)))
                if states[number]:
                    raise ValueError(f"the ledgers have {entry['group']} {number} twice")
                states[number] = POSTED | ACKNOWLEDGED if entry["acknowledged"] else POSTED
                self.counts["acknowledged"] += entry["acknowledged"]

    def see(self, message, schemas):
        """Takes the next message of its partition."""
        topic = message.topic()
        if topic == self.dead_letters:
            headers = dict(message.headers() or [])
            reason = headers.get("imbridge-reason", b"none").decode()
            self.reasons[reason] += 1
            if self.refused_count and reason in REFUSED:
                self.see_refused(message, self.fields[f"{self.prefix}.{headers['ce_type'].decode()}"])
            return
        fields = self.fields.get(topic)
        record = schemas.show(message.value()).get("value") if fields else None
        group = record and self.groups.get(record[fields[0]])
        if not group:
            if fields and not record:
                raise BrokenPromise("the value is no record of a known schema")
            self.counts["foreign"] += 1
            return
        self.judge(group, record[fields[0]], int(record[fields[1]]), message)

    def see_refused(self, message, fields):
        """Takes a dead letter that holds an event as it came: it counts as there, and has no order among the events."""
        event = json.loads(message.value())
        name, number = event[fields[0]], int(event[fields[1]])
        group = self.groups.get(name)
        if not group:
            self.counts["foreign"] += 1
            return
        self.counts["messages"] += 1
        if message.key() != name.encode():
            self.fault("wrong_key", f"{name} {number}: the letter's key is {message.key()}", message)
        if group.states[number] & FOUND:
            self.fault("twice", f"{name} {number}: is there again, as a dead letter", message)
        group.states[number] |= FOUND

    def judge(self, group, name, number, message):
        partition = message.partition()
        self.counts["messages"] += 1
        if message.key() != name.encode():
            self.fault("wrong_key", f"{name} {number}: the key is {message.key()}", message)
        if number >= len(group.states) or not group.states[number]:
            self.fault("never_posted", f"{name} {number}: was never posted", message)
            return
        last = group.last.get(partition, -1)
        if last < 0:
            self.places.add((message.topic(), partition))
        if group.states[number] & FOUND:
            self.fault("twice", f"{name} {number}: is there again", message)
        elif self.has_order(group.states[number], message) and number < last:
            self.fault("out_of_order", f"{name} {number}: comes after {last}", message)
        group.states[number] |= FOUND
        if number > last:
            group.last[partition] = number

    def has_order(self, state, message):
        """Whether an event has to stand before all later ones of its group."""
        if self.answer_hold_ms is None:
            return True
        late = self.lateness(message)
        self.counts[late] += 1
        ordered = not late and bool(state & ACKNOWLEDGED)
        self.counts["ordered"] += ordered
        return ordered

    def lateness(self, message):
        """By what a message is late, if it is."""
        headers = dict(message.headers() or [])
        if "imbridge-late" in headers:
            return "late_by_header"
        kind, timestamp = message.timestamp()
        if kind != TIMESTAMP_LOG_APPEND_TIME:
            raise BrokenPromise("its time is not that of Kafka's log")
        return "late_by_time" if timestamp - int(headers["imbridge-received-at"]) >= self.answer_hold_ms else None

    def fault(self, kind, words, message=None):
        self.counts[kind] += 1
        if len(self.examples) < EXAMPLES_MAX:
            place = f" ({message.topic()}/{message.partition()}@{message.offset()})" if message else ""
            self.examples.append(f"{kind}: {words}{place}")

    def verdict(self):
        for name, group in self.groups.items():
            if len(group.last) > 1:
                self.fault("several_partitions", f"{name} is in partitions {sorted(group.last)}")
            states = group.states
            self.counts["found"] += sum(states.count(state | FOUND) for state in (POSTED, POSTED | ACKNOWLEDGED))
            self.counts["unacknowledged_yet_present"] += states.count(POSTED | FOUND)
            missing = POSTED | ACKNOWLEDGED
            at = states.find(missing)
            while at >= 0:
                self.fault("acknowledged_and_missing", f"{name} {at}")
                at = states.find(missing, at + 1)
        names = ["acknowledged", "found", "messages", *FAULTS, "unacknowledged_yet_present", "foreign"]
        names += ["late_by_header", "late_by_time", "ordered"]
        verdict = {name: self.counts[name] for name in names}
        verdict.update(dead_lettered=dict(self.reasons), partitions=len(self.places), examples=self.examples)
        return verdict


def run(options):
    schemas, judge = Schemas(options.schemas), Judge(options.topic_prefix, options.refused_count, options.answer_hold_ms)
    for path in options.ledger:
        judge.read_ledger(path)
    reader = Reader(options.brokers, options.topic_prefix, options.isolation)
    reader.assign(options.idle_timeout_s)
    heard_at = time.monotonic()
    while reader.unfinished:
        messages = reader.read()
        if messages:
            heard_at = time.monotonic()
        elif time.monotonic() > heard_at + options.idle_timeout_s:
            print(f"judge.py: nothing for {options.idle_timeout_s} s before the end of {sorted(reader.unfinished)}", file=sys.stderr)
            return 4
        for message in messages:
            try:
                judge.see(message, schemas)
            except (BrokenPromise, UnicodeDecodeError, EOFError, ValueError, IndexError, KeyError) as problem:
                print(f"judge.py: {message.topic()}/{message.partition()}@{message.offset()}: {problem}", file=sys.stderr)
                return 3
    verdict = judge.verdict()
    print(json.dumps(verdict))
    return int(any(verdict[kind] for kind in FAULTS))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--brokers", required=True)
    parser.add_argument("--ledger", required=True, action="append", help="a file of the load; several are judged as one")
    parser.add_argument("--schemas", default="schemas", help="folder of <provider>/<Command>/v<N>.avsc")
    parser.add_argument("--topic-prefix", default="im", help="topics that begin with this and a dot")
    parser.add_argument("--isolation", choices=["read_uncommitted", "read_committed"], default="read_committed")
    parser.add_argument("--refused-count", action="store_true", help="what Kafka refused is there where a dead letter names it")
    parser.add_argument("--answer-hold-ms", type=int, help="several bridges with server.answer_after = \"kafka\"")
    parser.add_argument("--idle-timeout-s", type=float, default=60.0)
    try:
        sys.exit(run(parser.parse_args()))
    except KafkaException as problem:
        sys.exit(f"judge.py: {problem}")


if __name__ == "__main__":
    main()
