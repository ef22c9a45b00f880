"""Names of a Python file for names of a topic's documents: identifiers that nothing else in the file has."""

from __future__ import annotations

import builtins
import keyword
import re
import unicodedata
from collections.abc import Collection, Sequence
from itertools import chain, count
from typing import Literal

import msgspec

_LONGEST = 48
_RULES: tuple[Literal["camel", "pascal", "kebab"], ...] = ("camel", "pascal", "kebab")
# fmt: off
IMPORTED = frozenset([
    "Annotated", "Any", "Avro", "Decimal", "Digits", "EpochMicros", "EpochMillis", "EpochSeconds", "Json",
    "JsonSchema", "Literal", "Pipeline", "UUID", "dt", "ledger_dag", "msgspec",
])
# fmt: on
"""What the file may import: a field of that name would hide it from the fields below."""
_BUILTINS = frozenset(["bool", "bytes", "dict", "float", "int", "list", "str"])
"""Those of the builtins that a type may name."""
_PLAIN = re.compile(rf"[A-Za-z][A-Za-z0-9_]{{0,{_LONGEST - 1}}}\Z")
_SYSTEM_COLUMNS = frozenset(["ctid", "tableoid", "xmin", "xmax", "cmin", "cmax"])

_UNNAMEABLE = re.compile(r'[\\"\x00-\x1f]')


def is_nameable(name: str) -> bool:
    """Whether msgspec takes it for the name of a field."""
    return name != "" and not _UNNAMEABLE.search(name)


def words(name: str) -> list[str]:
    """The words of a name, in lower case: of `userId`, `user-id` and `user_id` they are the same."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    apart = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1_\2", plain))
    return [word.lower() for word in re.split(r"[^A-Za-z0-9]+", apart) if word]


def class_name(name: str) -> str:
    """A class's name for the objects of a field, or for a topic's events."""
    camel = "".join(word.capitalize() for word in words(name)) or "Nested"
    camel = f"Event{camel}" if camel[0].isdigit() else camel
    return f"{camel}Event" if camel in IMPORTED or camel in dir(builtins) or keyword.iskeyword(camel) else camel


def singular(name: str) -> str:
    """The name of one of several, where a final s says that there are several."""
    for plural, single in (("ies", "y"), ("sses", "ss"), ("s", "")):
        if name.endswith(plural) and not name.endswith(("ss", "us", "is", "news")) and len(name) > len(plural) + 1:
            return name[: -len(plural)] + single
    return name


def identifiers(names: Sequence[str], hidden: Collection[str]) -> tuple[list[str], str | None]:
    """Identifiers for the fields of a class, which are names of columns, too.

    Args:
        names: The fields' names in the documents.
        hidden: Names of the file's own that no field may have.

    Returns:
        The identifiers, and the rule of msgspec (`rename`) by which all names follow from them, where there is one.
    """
    plain = ["_".join(words(name)) for name in names]
    if plain != [*names] and len({*plain}) == len(plain) and all(_is_usable(name, hidden) for name in plain):
        for rule in _RULES:
            renamed = msgspec.defstruct("Renamed", [(name, object) for name in plain], rename=rule)
            if renamed.__struct_encode_fields__ == tuple(names):
                return plain, rule
    found: list[str] = []
    for number, (name, in_words) in enumerate(zip(names, plain, strict=True), 1):
        wanted = name if _PLAIN.match(name) else in_words or f"field_{number}"
        found.append(_unused(wanted, {*map(str.lower, found)}, hidden))
    return found, None


def _unused(wanted: str, folded: Collection[str], hidden: Collection[str]) -> str:
    """A name that can be a field's and a column's, and that no other one has, in upper or lower case."""
    wanted = wanted if wanted[0].isalpha() else f"field_{wanted}"
    suffixes = chain(["", "_"], (f"_{number}" for number in count(2)))
    names = (wanted[: _LONGEST - len(suffix)] + suffix for suffix in suffixes)
    return next(name for name in names if _is_usable(name, hidden) and name.lower() not in folded)


def _is_usable(name: str, hidden: Collection[str]) -> bool:
    reserved = keyword.iskeyword(name) or name in hidden or name in IMPORTED or name in _BUILTINS
    return bool(_PLAIN.match(name)) and not reserved and name.lower() not in _SYSTEM_COLUMNS


def quoted(text: str) -> str:
    """A text as a literal of Python, in the quotes that a formatter leaves."""
    literal = repr(text)
    return f'"{literal[1:-1]}"' if literal[0] == "'" and '"' not in literal else literal
