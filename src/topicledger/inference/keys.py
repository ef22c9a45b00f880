"""Which fields could be the key: what is unique over the sample, never missing, and looks like an identifier."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import NamedTuple

from topicledger.inference.sample import Sample

_ID = re.compile(r"(^|_|-|\.)(id|uuid|guid|key|nr|number|code)$|[a-z](Id|ID|Uuid|UUID|Guid|Key)$")
_WITHIN = re.compile(
    r"version|revision|seq|line|position|part|lsn|scn|pos$|updated|changed|modified|_?(at|ts)$", re.IGNORECASE
)


class Key(NamedTuple):
    """A proposal.

    Args:
        fields: By their names in the documents; empty: none.
        reason: Why these, or why none.
    """

    fields: tuple[str, ...]
    reason: str


def propose_key(sample: Sample, topic: str, names: Collection[str]) -> Key:
    """Propose the fields that tell a topic's events apart.

    The record's key comes first where it is unique, then names that look like an identifier, then two fields
    together, such as an identifier and a version. What is unique by chance, such as a time or an amount, is no key.

    Args:
        sample: What was seen.
        topic: The topic.
        names: The fields that have a column without NULL.
    """
    candidates = [name for name in sample.key_candidates if name in names]
    of_record = [fields for fields in sample.key_fields if set(fields) <= set(candidates)]
    by_name = sorted((name for name in candidates if _ID.search(name)), key=lambda name: _rank(name, topic))
    ids = [*of_record, *((name,) for name in by_name if (name,) not in of_record)]
    for fields in ids:
        if not sample.repeats(fields):
            also = ", and the record's key" if fields in of_record else ""
            return Key(fields, f"unique in {sample.objects:,} records{also}")
    for fields in ids:
        for other in candidates:
            together = (*fields, other)
            if other not in fields and (_WITHIN.search(other) or (other,) in ids) and not sample.repeats(together):
                return Key(together, f"unique together; {_said(fields)} alone repeats in {sample.repeats(fields):,}")
    return Key((), _why_none(sample, ids))


def _rank(name: str, topic: str) -> tuple[bool, bool]:
    """The topic's own identifier first (`order_id` of `orders`), then a plain `id`, then others, as they come."""
    plain = re.sub("[^a-z]", "", name.lower())
    subject = re.sub(r"(id|uuid|guid|key)$", "", plain)
    return (not (subject and subject in topic.lower()), plain not in ("id", "eventid", "uuid"))


def _said(names: tuple[str, ...]) -> str:
    return " and ".join(names)


def _why_none(sample: Sample, ids: list[tuple[str, ...]]) -> str:
    if not ids:
        return "no field that every record has looks like an identifier"
    repeated = ", ".join(f"{_said(names)} in {sample.repeats(names):,}" for names in ids[:3])
    return f"what looks like an identifier repeats: {repeated} of {sample.objects:,} records"
