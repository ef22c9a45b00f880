"""Which type a field gets: the narrowest that holds all that was seen of it, and what that leaves unsure."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from types import NoneType
from uuid import UUID

from topicledger.inference.names import class_name, is_nameable, quoted, singular
from topicledger.inference.seen import DEEPEST, Digits, Seen, merged

_INT64 = 2**63
_MOST_DIGITS, _FEW_DIGITS = 38, 18
_MONEY_DIGITS = 4
_ENOUGH = 100
_MOST_CHOICES, _WIDEST_LITERAL = 12, 80
_TIMES_EACH = 8
_SELDOM, _MANY_NAMES = 0.3, 10

_CODE = re.compile(r"[A-Za-z][\w./:+-]{0,30}\Z", re.ASCII)
_OPEN = re.compile(r"^__op$|name|mail|user|login|phone|address|street|token|secret|password|iban|card", re.IGNORECASE)
"""What is a person's, or has values of which a sample lacks some, such as a snapshot's operation: never a `Literal`."""
_MONEY = re.compile(r"amount|price|total|cost|fee|tax|balance|discount|revenue|salary|charge|paid", re.IGNORECASE)
_VERSION = re.compile(r"version|release|build|ver$", re.IGNORECASE)
_MOMENT = re.compile(r"time|date|epoch|(^|_)(ts|at|on|ms|us)(_|$)|[a-z](At|Ts|On)$", re.IGNORECASE)
_DATA = re.compile(r"\d+\Z|[0-9a-fA-F-]{16,}\Z|\d{4}-\d\d-\d\d")
"""A name that is data: a number, an id, a day."""

_FROM_S, _TO_S = 946_684_800, 4_102_444_800
"""The years 2000 to 2100: what is an epoch in one unit isn't one in another."""
_EPOCHS = {"EpochSeconds": 1, "EpochMillis": 1_000, "EpochMicros": 1_000_000}
_FORMS = {
    "uuid": "UUID",
    "aware": "dt.datetime",
    "naive": "Annotated[dt.datetime, msgspec.Meta(tz=False)]",
    "date": "dt.date",
    "time": "dt.time",
}
_KINDS = {
    bool: "bool",
    float: "float",
    bytes: "bytes",
    UUID: "UUID",
    dt.datetime: "dt.datetime",
    dt.date: "dt.date",
    dt.time: "dt.time",
}
_SAID: Mapping[type, str] = {
    bool: "true or false",
    int: "whole numbers",
    Decimal: "numbers",
    str: "texts",
    list: "lists",
    dict: "objects",
}


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a class.

    Args:
        name: As the documents have it.
        annotation: Its type, null aside.
        nullable: Whether null was seen.
        absent: Whether an object was without it.
        notes: What is unsure, each a few words.
    """

    name: str
    annotation: str
    nullable: bool
    absent: bool
    notes: Sequence[str]


_Type = tuple[str, list[str]]
"""An annotation, and what is unsure of it."""


@dataclass
class Typing:
    """The classes that a sample needs, as its places get their types.

    Args:
        taken: Names that no class may have.
        exact: Whether the format tells decimals from floats, as JSON doesn't.
        nullable: Fields of the event that may be null, whether any was.
        classes: The classes with their fields, the innermost first.
    """

    taken: set[str]
    exact: bool = False
    nullable: Collection[str] = ()
    classes: list[tuple[str, Sequence[Field]]] = field(default_factory=list)

    def fields(self, seen: Seen, names: Sequence[str], owner: str) -> list[Field]:
        """The fields of a class for these objects."""
        return [self._field(seen.fields[name], name, seen.counts[dict], owner) for name in names]

    def _field(self, seen: Seen, name: str, objects: int, owner: str) -> Field:
        annotation, notes = self._type(seen, name, owner)
        nulls, absent = seen.counts.get(NoneType, 0), objects - seen.total
        missing = [f"{said} {count:,}" for said, count in (("null in", nulls), ("absent from", absent)) if count]
        if missing:
            notes = [f"{', '.join(missing)} of {objects:,}", *notes]
        never = seen.depth == 1 and name in self.nullable and not missing
        notes = ["may be null, never was", *notes] if never else notes
        return Field(name, annotation, never or nulls > 0, absent > 0, notes)

    def _type(self, seen: Seen, name: str, owner: str) -> _Type:
        """The type of what was seen at one place, null aside."""
        kinds = {kind: count for kind, count in seen.counts.items() if kind is not NoneType}
        if kinds.keys() == {dict}:
            return self._of_objects(seen, name, owner)
        if kinds.keys() == {list}:
            if seen.items is None:
                return "list[Any]", ["not looked into" if seen.depth >= DEEPEST else "always empty"]
            inner, notes = self._inner(seen.items, singular(name), owner)
            return f"list[{inner}]", notes
        if self.exact and kinds.keys() == {Decimal}:
            return _decimal(seen.numbers) or "Any", []
        return _of_scalars(seen, kinds, name)

    def _of_objects(self, seen: Seen, name: str, owner: str) -> _Type:
        """A class of its own, or a dict where the names vary from one object to the next."""
        if not seen.fields:
            return "dict[str, Any]", ["not looked into" if seen.depth >= DEEPEST else "always empty"]
        if _names_vary(seen):
            values = merged(*seen.fields.values(), seen.others)
            inner, notes = self._inner(values, singular(name), owner)
            return f"dict[str, {inner}]", ["the names vary", *notes]
        wanted = unused = class_name(name)
        if unused in self.taken:
            wanted = unused = f"{owner}{wanted}"
        number = 2
        while unused in self.taken:
            unused, number = f"{wanted}{number}", number + 1
        self.taken.add(unused)
        self.classes.append((unused, self.fields(seen, list(seen.fields), unused)))
        return unused, []

    def _inner(self, seen: Seen, name: str, owner: str) -> _Type:
        """The type of a list's or dict's values."""
        annotation, notes = self._type(seen, name, owner)
        null = NoneType in seen.counts and annotation != "Any"
        return f"{annotation} | None" if null else annotation, notes


def _names_vary(seen: Seen) -> bool:
    names = len(seen.fields)
    present = sum(each.total for each in seen.fields.values())
    seldom = names > _MANY_NAMES and present < _SELDOM * names * seen.counts[dict]
    data = all(map(_DATA.match, seen.fields)) or not all(map(is_nameable, seen.fields))
    return seldom or data or seen.others is not None


def _of_scalars(seen: Seen, kinds: Mapping[type, int], name: str) -> _Type:
    if not kinds:
        return "Any", []
    if kinds.keys() == {str}:
        return _of_texts(seen, kinds[str], name)
    if kinds.keys() == {int}:
        return _of_whole_numbers(seen, name)
    if kinds.keys() <= {int, Decimal} or (kinds.keys() <= {int, Decimal, str} and "decimal" in seen.texts.forms):
        return _of_numbers(seen, kinds, name)
    if len(kinds) == 1 and (known := _KINDS.get(next(iter(kinds)))):
        return known, []
    most = max(kinds, key=kinds.__getitem__)
    others = sum(kinds.values()) - kinds[most]
    if most in (str, int) and others * _TIMES_EACH < kinds[most]:
        return "Any", [f"{_of_scalars(seen, {most: kinds[most]}, name)[0]} but for {others:,}"]
    return "Any", [" and ".join(f"{count:,} {_SAID.get(kind, kind.__name__)}" for kind, count in kinds.items())]


def _of_texts(seen: Seen, count: int, name: str) -> _Type:
    texts = seen.texts
    for form, annotation in _FORMS.items():
        if form in texts.forms:
            return annotation, ["without an offset: taken as UTC"] if form == "naive" else []
    if "decimal" in texts.forms and not _VERSION.search(name):
        digits = texts.digits
        exact = _decimal(digits)
        if exact and (digits.least == digits.most or _MONEY.search(name)):
            return exact, []
        return "str", [f"numbers of {digits.least} to {digits.most} digits behind the point"]
    return _of_choices(texts.values, count, name)


def _of_choices(values: Mapping[str, int] | None, count: int, name: str) -> _Type:
    """A `Literal` where enough records have few values, each of them several times, and they look like codes."""
    few = values is not None and count >= _TIMES_EACH * len(values) and min(values.values()) > 1
    if not values or not few or _OPEN.search(name) or not all(map(_CODE.match, values)):
        return "str", []
    if len(values) == 1:
        return "str", []
    literal = f"Literal[{', '.join(map(quoted, sorted(values)))}]"
    if count < _ENOUGH:
        return "str", [f"{len(values)} values, in too few records for a Literal"]
    if len(values) > _MOST_CHOICES or len(literal) > _WIDEST_LITERAL:
        return "str", [f"{len(values)} values, too many for a Literal"]
    return literal, []


def _of_whole_numbers(seen: Seen, name: str) -> _Type:
    if not seen.within(-_INT64, _INT64 - 1):
        digits = Digits()
        digits.widen(seen.digits_of_whole, 0, 0)
        return _decimal(digits) or "Any", [f"whole numbers of up to {digits.before} digits"]
    if _MOMENT.search(name):
        for epoch, in_a_second in _EPOCHS.items():
            if seen.within(_FROM_S * in_a_second, _TO_S * in_a_second):
                return epoch, []
    return "int", []


def _of_numbers(seen: Seen, kinds: Mapping[type, int], name: str) -> _Type:
    """An exact decimal where all have as many digits behind the point, or few and a name of money; else a float."""
    digits = Digits()
    for kind, others in ((Decimal, seen.numbers), (str, seen.texts.digits)):
        if kind in kinds:
            digits.widen(others.before, others.least, others.most)
    if int in kinds:
        digits.widen(seen.digits_of_whole, 0, 0)
    exact, always = _decimal(digits), digits.least == digits.most and sum(kinds.values()) >= _TIMES_EACH
    if str in kinds:
        return exact or "Any", ["numbers, also as texts"]
    if _MOMENT.search(name) and seen.within(_FROM_S, _TO_S):
        return "EpochSeconds", []
    if exact and digits.most <= _MONEY_DIGITS and (always or _MONEY.search(name)):
        return exact, [f"{'always' if always else 'at most'} {digits.most} digits behind the point"]
    return "float", [f"up to {digits.most} digits behind the point"] if _MONEY.search(name) else []


def _decimal(digits: Digits) -> str | None:
    """A decimal with room for larger numbers; None where no column holds so many digits."""
    used = digits.before + digits.most
    precision = _FEW_DIGITS if used <= _FEW_DIGITS - 3 else _MOST_DIGITS
    return f"Annotated[Decimal, Digits({precision}, {digits.most})]" if used <= precision else None
