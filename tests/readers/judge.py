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
  wrong_position              messages whose record says another position than their headers: spool, spool_seq and spool_part in an
                              event's own topic, spool, seq and part in the timeline
  never_posted                events of a group of the load with a number that no ledger has
  timeline_missing            events that are in their topic, and not in the timeline (with --timeline)
  timeline_twice              messages of the timeline of an event that was there before
  timeline_out_of_order       messages of the timeline behind a later event of their group, by its number or by spool, seq and part
  timeline_wrong              messages of the timeline that nobody posted, or that say another key, group or partition than they have
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

Exit code 0 when nothing is missing, twice, out of order, in several partitions, under a wrong key, never posted or at another
position than the headers say, in the topics and in the timeline; else 1. 3 when
a message cannot be read, 4 when Kafka was silent for too long.
"""

import argparse
import json
import sys
import time
from collections import Counter

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, KafkaException

from consume import BrokenPromise, Reader, Schemas, check_position

# Where the load writes group and number: the fields of the commands that it posts.
FIELDS = {
    "tencent.Group.CallbackAfterChangeGroupOwner": ("GroupId", "NewOwner_Account"),
    "tencent.Group.CallbackAfterCreateGroup": ("GroupId", "Name"),
    "openim.callbackAfterTransferGroupOwnerCommand": ("groupID", "newOwnerUserID"),
}
DEAD_LETTER = "dead-letter"
TIMELINE = "timeline"
REFUSED = {"refused", "topic_refused"}
POSTED, ACKNOWLEDGED, FOUND, BURIED, TOLD = 1, 2, 4, 8, 16
FAULTS = [
    "acknowledged_and_missing", "twice", "out_of_order", "several_partitions", "wrong_key", "wrong_position",
    "never_posted", "timeline_missing", "timeline_twice", "timeline_out_of_order", "timeline_wrong",
]
EXAMPLES_MAX = 20


class Group:
    """One group's events, a byte for each number; the last number seen in each partition of each topic; of the timeline the partition, the
    last number, and the last position in each spool."""

    __slots__ = ("last", "place", "positions", "states", "told")

    def __init__(self):
        self.states = bytearray()
        self.last = {}
        self.place, self.told, self.positions = None, -1, {}


class Judge:
    def __init__(self, prefix, refused_count=False, timeline=False, answer_hold_ms=None):
        self.refused_count, self.prefix, self.has_timeline = refused_count, prefix, timeline
        self.answer_hold_ms, self.timeline = answer_hold_ms, f"{prefix}.{TIMELINE}"
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
        if topic == self.timeline:
            self.see_told(message, schemas)
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
        self.check_position(record, message)

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
        group.states[number] |= FOUND | BURIED

    def see_told(self, message, schemas):
        """Takes the next message of the timeline's partition. An event is told from others by its body."""
        record = schemas.show(message.value()).get("value")
        if not record:
            raise BrokenPromise("the value is no record of a known schema")
        fields = self.fields.get(f"{self.prefix}.{record['provider']}.{record['command']}")
        event = fields and json.loads(record["body"])
        name = event and event.get(fields[0])
        group = self.groups.get(name)
        if not group:
            self.counts["foreign"] += 1
            return
        number, partition = int(event[fields[1]]), message.partition()
        group.place = partition if group.place is None else group.place
        says = (message.key().decode(), record["ordering_key"], record["group_id"], group.place)
        posted = number < len(group.states) and group.states[number] & POSTED
        if says != (name, name, name, partition) or not posted:
            self.fault("timeline_wrong", f"{name} {number}: {says}, posted: {bool(posted)}", message)
            return
        spool, position = record["spool"], (record["seq"], record["part"])
        self.check_position(record, message)
        last = group.positions.get(spool, (-1, 0))
        if group.states[number] & TOLD:
            self.fault("timeline_twice", f"{name} {number}: is there again", message)
        elif (self.must_be_in_front(group.states[number], message) and number < group.told) or position <= last:
            self.fault("timeline_out_of_order", f"{name} {number} at {position}: comes after {group.told} at {last}", message)
        group.states[number] |= TOLD
        group.told, group.positions[spool] = max(group.told, number), max(last, position)

    def check_position(self, record, message):
        try:
            check_position(record, {name: value.decode() for name, value in message.headers() or []})
        except BrokenPromise as problem:
            self.fault("wrong_position", str(problem), message)

    def judge(self, group, name, number, message):
        partition = message.partition()
        self.counts["messages"] += 1
        if message.key() != name.encode():
            self.fault("wrong_key", f"{name} {number}: the key is {message.key()}", message)
        if number >= len(group.states) or not group.states[number]:
            self.fault("never_posted", f"{name} {number}: was never posted", message)
            return
        place = (message.topic(), partition)
        last = group.last.get(place, -1)
        if last < 0:
            self.places.add(place)
        if group.states[number] & FOUND:
            self.fault("twice", f"{name} {number}: is there again", message)
        elif self.has_order(group.states[number], message) and number < last:
            self.fault("out_of_order", f"{name} {number}: comes after {last}", message)
        group.states[number] |= FOUND
        if number > last:
            group.last[place] = number

    def has_order(self, state, message):
        """Whether an event has to stand before all later ones of its group; counts which are late."""
        ordered = self.must_be_in_front(state, message)
        if self.answer_hold_ms is not None:
            self.counts[self.lateness(message)] += 1
            self.counts["ordered"] += ordered
        return ordered

    def must_be_in_front(self, state, message):
        return self.answer_hold_ms is None or (bool(state & ACKNOWLEDGED) and not self.lateness(message))

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

    def faults(self, kind, name, states, wanted):
        """A fault for each event in this state."""
        at = states.find(wanted)
        while at >= 0:
            self.fault(kind, f"{name} {at}")
            at = states.find(wanted, at + 1)

    def verdict(self):
        for name, group in self.groups.items():
            partitions = {partition for _, partition in group.last}
            if len(partitions) > 1:
                self.fault("several_partitions", f"{name} is in partitions {sorted(partitions)}")
            states = group.states
            found = {state: states.count(state) for state in range(2 * TOLD) if state & FOUND}
            self.counts["found"] += sum(found.values())
            self.counts["unacknowledged_yet_present"] += sum(n for state, n in found.items() if not state & ACKNOWLEDGED)
            for missing in (POSTED | ACKNOWLEDGED, POSTED | ACKNOWLEDGED | TOLD):
                self.faults("acknowledged_and_missing", name, states, missing)
            if self.has_timeline:
                # What its own topic refused comes into the timeline when it is replayed.
                for missing in (POSTED | FOUND, POSTED | ACKNOWLEDGED | FOUND):
                    self.faults("timeline_missing", name, states, missing)
        names = ["acknowledged", "found", "messages", *FAULTS, "unacknowledged_yet_present", "foreign"]
        names += ["late_by_header", "late_by_time", "ordered"]
        verdict = {name: self.counts[name] for name in names}
        verdict.update(dead_lettered=dict(self.reasons), partitions=len(self.places), examples=self.examples)
        return verdict


def run(options):
    schemas = Schemas(options.schemas)
    judge = Judge(options.topic_prefix, options.refused_count, options.timeline, options.answer_hold_ms)
    for path in options.ledger:
        judge.read_ledger(path)
    reader = Reader(options.brokers, options.topic_prefix, options.isolation, options.timeline)
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
    parser.add_argument("--timeline", action="store_true", help="the timeline too must have each event that is in its topic")
    parser.add_argument("--answer-hold-ms", type=int, help="several bridges with server.answer_after = \"kafka\"")
    parser.add_argument("--idle-timeout-s", type=float, default=60.0)
    try:
        sys.exit(run(parser.parse_args()))
    except KafkaException as problem:
        sys.exit(f"judge.py: {problem}")


if __name__ == "__main__":
    main()
