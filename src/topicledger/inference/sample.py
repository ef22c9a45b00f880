"""A sample of a topic's records, looked at one by one: what their values hold, and what could be a key of theirs."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import msgspec

from topicledger.errors import RetriableError, SettingsError
from topicledger.inference.seen import Seen

Document = Callable[[bytes], object]
"""A record's value as plain Python values; raises for what isn't of its format."""

_KEY_KINDS = frozenset([str, int])
_NO_VERDICT = (MemoryError, RetriableError, SettingsError)


class Sample:
    """What records hold; nothing of theirs is kept but numbers, short lists of texts, and hashes.

    Args:
        document: How a value is read.
        format: The declaration of its format, in Python; empty for plain JSON.
        nullable: Fields that may be null, as a schema says, whether any was.
    """

    def __init__(self, document: Document, format: str = "", nullable: Collection[str] = ()) -> None:  # noqa: A002
        self.format = format
        self.nullable = nullable
        self.root = Seen()
        self.records = self.unreadable = self.keyed = 0
        self._in_key: Counter[tuple[str, ...]] = Counter()
        self._document = document
        self._values = array("q")
        self._columns: dict[str, array[int]] | None = None

    @property
    def tombstones(self) -> int:
        """How many records have no value."""
        return self.records - self.unreadable - self.objects

    @property
    def objects(self) -> int:
        """How many records are an object, with fields."""
        return self.root.total

    def add(self, values: Sequence[bytes | None], keys: Sequence[bytes | None]) -> None:
        """Look at records."""
        documents, their_keys, hashes = [], [], []
        for value, key in zip(values, keys, strict=True):
            document = None if value is None else self._read(value)
            if isinstance(document, dict):
                documents.append(document)
                their_keys.append(key)
                hashes.append(hash(value))
        self.records += len(values)
        if documents:
            self.root.add(documents)
            self._values.extend(hashes)
            self._look_for_keys(documents)
            self._look_at_keys(documents, their_keys)

    def _read(self, value: bytes) -> object:
        try:
            document = self._document(value)
        except _NO_VERDICT:
            raise
        except Exception:  # noqa: BLE001 - whatever the decoder of a format says of a value
            document = None
        if not isinstance(document, dict):
            self.unreadable += 1
        return document

    def _look_for_keys(self, documents: Sequence[Mapping[str, Any]]) -> None:
        """Keep the hashes of each field that every record so far has, as a text or whole number."""
        if self._columns is None:
            self._columns = {name: array("q") for name in documents[0]}
        for name in [*self._columns]:
            values = [document.get(name) for document in documents]
            if {*map(type, values)} <= _KEY_KINDS:
                self._columns[name].extend(map(hash, values))
            else:
                del self._columns[name]

    def _look_at_keys(self, documents: Sequence[Mapping[str, Any]], keys: Sequence[bytes | None]) -> None:
        for document, key in zip(documents, keys, strict=True):
            if key is not None:
                self.keyed += 1
                self._in_key.update(_fields_of_key(document, key))

    @property
    def key_fields(self) -> list[tuple[str, ...]]:
        """The fields that are the record's key, but for what a bad record in fifty has."""
        return [names for names, count in self._in_key.most_common() if count * 50 >= self.keyed * 49]

    @property
    def key_candidates(self) -> list[str]:
        """The fields that have a text or whole number in every record, in the documents' order."""
        columns = self._columns or {}
        return [name for name in self.root.fields if name in columns]

    def repeats(self, names: tuple[str, ...]) -> int:
        """How many values have, in these candidates, what another value has; the same value sent twice is one."""
        columns = self._columns or {}
        return len(set(self._values)) - len(set(zip(*(columns[name] for name in names), strict=True)))


def _fields_of_key(document: Mapping[str, Any], key: bytes) -> list[tuple[str, ...]]:
    """Which fields a record's key is, as text, as JSON, or as a JSON object of several."""
    text = key.decode(errors="replace")
    parts: object = None
    if key[:1] in (b'"', b"{"):
        try:
            parts = msgspec.json.decode(key)
        except ValueError:
            parts = None
    if isinstance(parts, dict):
        same = all(name in document and document[name] == value for name, value in parts.items())
        return [tuple(parts)] if parts and same else []
    return [
        (name,)
        for name, value in document.items()
        if type(value) in _KEY_KINDS and ((shown := str(value)) == text or shown == parts)
    ]
