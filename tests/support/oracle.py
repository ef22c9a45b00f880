"""The oracle: reads the topic with a plain consumer, and demands each record exactly once of the warehouse."""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaError, TopicPartition

from tests.support.looking import is_lake, query
from tests.support.topics import Topics, quiet, wait_for
from topicledger.connection import Connection

Coordinates = tuple[str, int, int]
"""(topic_id, partition, offset)."""


_ELSE = "\u00ad\u115f\u1160\u180e\u2800\u3164\ufeff\uffa0"
"""The soft hyphen, fillers of Hangul, the vowel separator of Mongolian, the blank of braille, the byte order mark."""


def is_blank(character: str) -> bool:
    """Whether a character shows nothing, as the sign-ups' declaration has it."""
    in_punctuation = unicodedata.category(character) == "Cf" and 0x2000 <= ord(character) <= 0x206F
    reserved = character == "\u2065"
    control = unicodedata.category(character) == "Cc"
    return character.isspace() or control or in_punctuation or reserved or character in _ELSE


def require_rules(username: str, email: str) -> None:
    """Demand of a row what the declaration says of a name and of an e-mail address."""
    for text in (username, email):
        assert text == text.strip(), f"a row with the untrimmed {text!r}"
    assert not all(map(is_blank, username)), f"a row with the blank name {username!r}"
    local, domain = email.split("@")
    assert local, f"a row with the address {email!r}"
    assert domain, f"a row with the address {email!r}"
    assert not any(map(is_blank, local + domain)), f"a row with the address {email!r}"


@dataclass(frozen=True)
class Verdict:
    """What became of every record that the oracle ever saw on the topic."""

    rows: frozenset[Coordinates]
    dead_letters: frozenset[Coordinates]
    tombstones: frozenset[Coordinates]
    duplicates: frozenset[Coordinates]


class Oracle:
    """Compares one topic with one target. It remembers what it read, so that records deleted since still count.

    Args:
        topics: Reads the topic.
        topic: The topic.
        place: The warehouse.
        table: The rows' table.
        key: The fields that are unique together in the table; none where every record is a row.
    """

    def __init__(
        self, topics: Topics, topic: str, place: Connection, table: str, key: tuple[str, ...] = ("event_id",)
    ) -> None:
        self._topics = topics
        self._topic = topic
        self._place = place
        self._table = table
        self._key = key
        self.values: dict[Coordinates, bytes | None] = {}
        self._ends: dict[tuple[str, int], int] = {}

    def read(self) -> None:
        """Read the whole topic, from its first record to its end, as a reader of committed records sees it."""
        topic_id = self._topics.topic_id(self._topic)
        for (partition, offset), value in read_topic(self._topics, self._topic).items():
            self.values[topic_id, partition, offset] = value
        for partition, end in self._topics.ends(self._topic).items():
            self._ends[topic_id, partition] = end

    def require_every_record_once(
        self, *, lost: frozenset[Coordinates] = frozenset(), unread: int = 0, before_origin: int = 0
    ) -> Verdict:
        """Demand that every record is a row, a dead letter with its bytes, a tombstone or a duplicate: once.

        Args:
            lost: Records that Kafka lost before they were loaded.
            unread: How many offsets at the ends a cap has left for later runs.
            before_origin: How many records lie before the books' origin.
        """
        self.read()
        positions = self._positions()
        left = sum(end - positions[where][1] for where, end in self._ends.items() if where in positions)
        assert left == unread
        inside = {c for c in self.values if positions[c[:2]][0] <= c[2] < positions[c[:2]][1]}
        outside = {c for c in self.values if c[2] < positions[c[:2]][0]}
        assert len(outside) == before_origin
        expected = inside - lost
        rows, dead = self._rows(), self._dead_letters()
        assert not rows & dead
        assert not (rows | dead) - expected, "the warehouse has records that the topic never had"
        tombstones = frozenset(c for c in expected if self.values[c] is None)
        duplicates = expected - rows - dead - tombstones
        self._require_twins(duplicates)
        repeats = self._repeats(rows)
        assert repeats <= duplicates, "rows were loaded that the topic never had, or that became something else too"
        counted = self._counted()
        assert counted == (len(rows) + len(repeats), len(duplicates) - len(repeats), len(dead), len(tombstones))
        return Verdict(rows, dead, tombstones, frozenset(duplicates))

    def _positions(self) -> dict[tuple[str, int], tuple[int, int]]:
        found = query(
            self._place,
            "SELECT topic_id, partition, origin, position FROM topicledger_positions "
            f"WHERE LOWER(target) LIKE '%.{self._table}'",
        )
        return {(topic_id, partition): (origin, position) for topic_id, partition, origin, position in found}

    def _rows(self) -> frozenset[Coordinates]:
        """The rows' coordinates; each has its record's `event_id`, and a name and an address as they are declared."""
        columns = "_kafka_topic_id, _kafka_partition, _kafka_offset, CAST(event_id AS varchar)"
        for username, email in query(self._place, f"SELECT username, email FROM {self._table}"):
            require_rules(username, email)
        found = query(self._place, f"SELECT {columns} FROM {self._table}")
        twice = [c for c, times in Counter((t, p, o) for t, p, o, _ in found).items() if times > 1]
        assert not twice, f"rows that are there twice: {twice[:3]}"
        assert not self._key or len(self._keys()) == len(found), "a key that is there twice"
        for topic_id, partition, offset, key in found:
            assert self._event_id((topic_id, partition, offset)) == key
        return frozenset((t, p, o) for t, p, o, _ in found)

    def _repeats(self, rows: frozenset[Coordinates]) -> frozenset[Coordinates]:
        """Rows in files that the view hides: their key came in an earlier batch, and they are in `loaded` there."""
        if not is_lake(self._place):
            return frozenset()
        columns = "_kafka_topic_id, _kafka_partition, _kafka_offset, CAST(event_id AS varchar)"
        found = query(self._place, f"SELECT {columns} FROM {self._table}_loaded")
        assert len({row[:3] for row in found}) == len(found), "a record that was loaded twice"
        for topic_id, partition, offset, key in found:
            assert self._event_id((topic_id, partition, offset)) == key
        loaded = frozenset((t, p, o) for t, p, o, _ in found)
        assert rows <= loaded
        return loaded - rows

    def _dead_letters(self) -> frozenset[Coordinates]:
        """The dead letters' coordinates; each has its record's exact bytes."""
        columns = "_kafka_topic_id, _kafka_partition, _kafka_offset, d.value"
        found = query(self._place, f"SELECT {columns} FROM {self._table}_dead_letters d")
        for topic_id, partition, offset, value in found:
            assert self.values[topic_id, partition, offset] == bytes(value)
        assert len({row[:3] for row in found}) == len(found), "a dead letter that is there twice"
        return frozenset((t, p, o) for t, p, o, _ in found)

    def _require_twins(self, duplicates: set[Coordinates]) -> None:
        """A record that is nowhere else may only be a duplicate: its key is in the table."""
        keys = self._keys() if self._key else set()
        missing = [c for c in duplicates if self._fields(c, self._key) not in keys]
        assert not missing, f"{len(missing)} records are nowhere in the warehouse: {missing[:3]}"

    def _keys(self) -> set[tuple[str, ...]]:
        """The keys in the table."""
        columns = ", ".join(f"LOWER(CAST({name} AS varchar))" for name in self._key)
        return set(query(self._place, f"SELECT {columns} FROM {self._table}"))

    def _event_id(self, where: Coordinates) -> str | None:
        fields = self._fields(where, ("event_id",))
        return fields[0] if fields else None

    def _fields(self, where: Coordinates, names: tuple[str, ...]) -> tuple[str, ...] | None:
        """Fields of the record as texts, in lower case as the warehouses have a UUID; None: it isn't an event."""
        try:
            event = json.loads((self.values[where] or b"").decode())
            return tuple(str(event[name]).lower() for name in names)
        except (ValueError, TypeError, KeyError):
            return None

    def _counted(self) -> tuple[int, int, int, int]:
        """The sums of the accounts of all the target's batches: loaded, duplicates, dead letters, tombstones."""
        found = query(
            self._place,
            f"SELECT CAST(accounts AS varchar) FROM topicledger_batches WHERE LOWER(target) LIKE '%.{self._table}' "
            "AND accounts IS NOT NULL",
        )
        accounts = [json.loads(text) for (text,) in found]
        names = ("loaded", "duplicates", "dead_letters", "tombstones")
        loaded, duplicates, dead_letters, tombstones = (sum(a[name] for a in accounts) for name in names)
        return loaded, duplicates, dead_letters, tombstones


def read_topic(topics: Topics, topic: str) -> dict[tuple[int, int], bytes | None]:
    """Read all committed records of a topic: (partition, offset) to the value."""
    consumer = Consumer(
        {
            "bootstrap.servers": topics.bootstrap,
            "group.id": "oracle",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "auto.offset.reset": "earliest",
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 20,
            "log_level": 0,
        },
        logger=quiet,
    )
    waiting = set(topics.ends(topic))
    consumer.assign([TopicPartition(topic, partition, 0) for partition in waiting])
    found: dict[tuple[int, int], bytes | None] = {}

    def step() -> bool | None:
        # Asked for more than is left, consume() would wait its whole time.
        first = consumer.poll(0.2)
        for message in [*([] if first is None else [first]), *consumer.consume(1_000, 0)]:
            error, partition, offset = message.error(), message.partition(), message.offset()
            assert partition is not None
            assert offset is not None
            if error is None:
                found[partition, offset] = message.value()
            else:
                assert error.code() == KafkaError._PARTITION_EOF, error
                waiting.discard(partition)
        return True if not waiting else None

    try:
        wait_for(f"reading {topic}", step)
    finally:
        consumer.close()
    return found
