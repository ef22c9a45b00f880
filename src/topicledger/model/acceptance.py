"""What a person accepts on record: the exact loss, written as the error printed it."""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from topicledger.errors import SettingsError

_GAP = re.compile(r"gap:(\d+):(\d+):(\d+)\Z")
_TRUNCATED = re.compile(r"truncated:(\d+):(\d+):(\d+)\Z")
_TARGET = re.compile(r"target:(\w+\.\w+->\w+\.\w+)\Z")
_TOPIC_ID = re.compile(r"topic_id:([A-Za-z0-9_-]{22})\Z")


class Loss(msgspec.Struct, frozen=True, order=True):
    """Offsets [start, end) of a partition that Kafka no longer has.

    Args:
        kind: `gap` (retention or deletion at the head) or `truncated` (at the tail).
        partition: The partition.
        start: First lost offset.
        end: End, exclusive.
    """

    kind: str
    partition: int
    start: int
    end: int

    def __str__(self) -> str:
        return f"{self.kind}:{self.partition}:{self.start}:{self.end}"


class Accepted(msgspec.Struct, frozen=True):
    """The parameter `accept` of a run, parsed.

    Args:
        losses: The accepted intervals.
        topic_ids: The accepted new ids of the topic.
        targets: The accepted changes of the table, as `old->new`.
    """

    losses: tuple[Loss, ...] = ()
    topic_ids: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()


def parse_accepted(entries: Iterable[str]) -> Accepted:
    """Parse the entries of the parameter `accept`.

    Raises:
        SettingsError: An entry isn't in the form in which errors print it.
    """
    losses: list[Loss] = []
    topic_ids: list[str] = []
    targets: list[str] = []
    for entry in entries:
        text = str(entry).strip()
        if found := _TOPIC_ID.match(text):
            topic_ids.append(found[1])
        elif found := _TARGET.match(text):
            targets.append(found[1])
        elif found := _GAP.match(text) or _TRUNCATED.match(text):
            partition, start, end = (int(group) for group in found.groups())
            losses.append(Loss(text.partition(":")[0], partition, start, end))
        else:
            raise SettingsError(
                f"accept has the entry {text!r:.100}: copy the entry as the error printed it, such as "
                "'gap:3:120:140', 'truncated:3:90:100', 'topic_id:...' or 'target:old->new'",
                code="accept-malformed",
            )
    return Accepted(tuple(losses), tuple(topic_ids), tuple(targets))
