"""What a sample holds at one place of its documents: kinds, bounds, forms of text, and what lies below. One pass."""

from __future__ import annotations

import datetime as dt
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from itertools import chain
from typing import Any

import msgspec

MOST_VALUES = 100
"""More different texts than these aren't told apart."""
_MOST_FIELDS = 500
DEEPEST = 12
"""What lies deeper isn't looked into."""
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\Z")
_DECIMAL = re.compile(r"-?(?:0|[1-9]\d*)\.\d+\Z", re.ASCII)


def _time(value: str) -> dt.datetime | None:
    try:
        read = msgspec.convert(value, dt.datetime)
    except msgspec.ValidationError:
        return None
    # What lies outside the calendar in UTC is in no warehouse.
    return read if dt.MINYEAR < read.year < dt.MAXYEAR else None


def _is_aware(value: str) -> bool:
    read = _time(value)
    return read is not None and read.tzinfo is not None


def _is_naive(value: str) -> bool:
    read = _time(value)
    return read is not None and read.tzinfo is None


def _is_date(value: str) -> bool:
    return len(value) == len("2026-01-01") and _converts(value, dt.date)


def _is_time_of_day(value: str) -> bool:
    return value[-1:].isdigit() and "-" not in value and "+" not in value and _converts(value, dt.time)


def _converts(value: str, kind: type) -> bool:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return False
    return True


_FORMS: dict[str, Callable[[str], object]] = {
    "uuid": _UUID.match,
    "aware": _is_aware,
    "naive": _is_naive,
    "date": _is_date,
    "time": _is_time_of_day,
    "decimal": _DECIMAL.match,
}


class Digits:
    """How many digits numbers have: the most before the point, the fewest and the most behind it."""

    __slots__ = ("before", "least", "most")

    def __init__(self) -> None:
        self.before, self.least, self.most = 0, 999, 0

    def add(self, numbers: Sequence[Decimal]) -> None:
        """Look at numbers."""
        exponents = [int(number.as_tuple().exponent) for number in numbers]  # JSON has no NaN
        before = max(map(Decimal.adjusted, numbers)) + 1
        self.widen(max(0, before), max(0, -max(exponents)), max(0, -min(exponents)))

    def widen(self, before: int, least: int, most: int) -> None:
        """Take in those of others."""
        self.before, self.least, self.most = max(self.before, before), min(self.least, least), max(self.most, most)


class Texts:
    """The texts of one place: how often each comes while they are few, and the forms that all of them have."""

    __slots__ = ("digits", "forms", "values")

    def __init__(self) -> None:
        self.values: Counter[str] | None = Counter()
        self.forms = frozenset(_FORMS)
        self.digits = Digits()

    def add(self, texts: Sequence[str]) -> None:
        """Look at texts."""
        self._count(Counter(texts))
        self.forms = frozenset(name for name in self.forms if all(map(_FORMS[name], texts)))
        if "decimal" in self.forms:
            self.digits.add([*map(Decimal, texts)])

    def merge(self, other: Texts) -> None:
        """Take in what was seen elsewhere."""
        self._count(other.values)
        self.forms &= other.forms
        self.digits.widen(other.digits.before, other.digits.least, other.digits.most)

    def _count(self, values: Counter[str] | None) -> None:
        together = None if self.values is None or values is None else self.values + values
        self.values = None if together is None or len(together) > MOST_VALUES else together


class Seen:
    """Everything that was seen at one place.

    Args:
        depth: How deep it lies.
    """

    __slots__ = ("counts", "depth", "fields", "items", "least", "most", "numbers", "others", "texts")

    def __init__(self, depth: int = 0) -> None:
        self.depth = depth
        self.counts: Counter[type] = Counter()
        self.texts = Texts()
        self.numbers = Digits()
        self.least: int | Decimal | None = None
        self.most: int | Decimal | None = None
        self.fields: dict[str, Seen] = {}
        self.others: Seen | None = None
        self.items: Seen | None = None

    @property
    def total(self) -> int:
        """How many values there were, null among them."""
        return self.counts.total()

    @property
    def digits_of_whole(self) -> int:
        """The most digits that a number had before the point."""
        return max(len(str(abs(int(end or 0)))) for end in (self.least, self.most))

    def within(self, least: int, most: int) -> bool:
        """Whether all numbers are."""
        return self.least is not None and self.most is not None and least <= self.least and self.most <= most

    def add(self, values: Sequence[Any]) -> None:
        """Look at values, as a decoder gives them: those of one place, together, which is ten times as fast."""
        counts = Counter(map(type, values))
        for kind in counts:
            of_kind: Sequence[Any] = values if len(counts) == 1 else [value for value in values if type(value) is kind]
            if kind is str:
                self.texts.add(of_kind)
            elif kind is int:
                self._bound(of_kind)
            elif kind is Decimal:
                self._bound(of_kind)
                self.numbers.add(of_kind)
            elif kind is list:
                self._look_inside(of_kind)
            elif kind is dict:
                self._look_into(of_kind)
        self.counts += counts

    def _bound(self, values: Sequence[int | Decimal]) -> None:
        least, most = min(values), max(values)
        self.least = least if self.least is None else min(self.least, least)
        self.most = most if self.most is None else max(self.most, most)

    def _look_inside(self, lists: Sequence[Sequence[Any]]) -> None:
        items = [*chain.from_iterable(lists)]
        if items and self.depth < DEEPEST:
            self.items = self.items or Seen(self.depth + 1)
            self.items.add(items)

    def _look_into(self, objects: Sequence[Mapping[str, Any]]) -> None:
        if self.depth >= DEEPEST:
            return
        columns: defaultdict[str, list[Any]] = defaultdict(list)
        for each in objects:
            for name, value in each.items():
                columns[name].append(value)
        for name, values in columns.items():
            field = self.fields.get(name)
            if field is None and len(self.fields) < _MOST_FIELDS:
                field = self.fields[name] = Seen(self.depth + 1)
            elif field is None:
                field = self.others = self.others or Seen(self.depth + 1)
            field.add(values)

    def merge(self, other: Seen) -> None:
        """Take in what was seen elsewhere, as if it had been seen here."""
        if other.least is not None and other.most is not None:
            self._bound([other.least, other.most])
        if str in other.counts:
            self.texts.merge(other.texts)
        self.numbers.widen(other.numbers.before, other.numbers.least, other.numbers.most)
        for name, field in other.fields.items():
            self.fields[name] = merged(self.fields.get(name), field)
        if other.others is not None:
            self.others = merged(self.others, other.others)
        if other.items is not None:
            self.items = merged(self.items, other.items)
        self.counts += other.counts


def merged(*places: Seen | None) -> Seen:
    """What was seen at several places, as of one; the places themselves stay as they are."""
    there = [seen for seen in places if seen is not None]
    together = Seen(there[0].depth)
    for seen in there:
        together.merge(seen)
    return together
