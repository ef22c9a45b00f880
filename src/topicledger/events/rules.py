"""Rules over a whole column of a chunk: what the declaration doesn't allow, and what no table can hold."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from functools import reduce
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from topicledger.errors import RejectedRecord
from topicledger.events.rejections import storable

# 0001-01-01 and 9999-12-31 in UTC: what every warehouse and Python's own datetime can hold.
_FIRST_US = -62_135_596_800_000_000
_LAST_US = 253_402_300_799_999_999
_FIRST_DAY = -719_162
_LAST_DAY = 2_932_896
# PostgreSQL's index takes 2,704 at most; the limit is the same for all warehouses.
_KEY_BYTES = 2_000
# PostgreSQL's numbers have 16,383 behind the point. What the pattern finds may also be a text.
_MOST_DIGITS = 9_999
_PERHAPS_UNSTORABLE = r"\\u0000|[0-9]{1000}|[0-9][eE][+-]?[0-9]{4}|NaN|Infinity"
_TEXTS = re.compile(r'"(?:[^"\\]|\\.)*"')
_NUMBERS = re.compile(r"-?(?:[0-9][0-9.eE+-]*|s?NaN[0-9]*|Infinity)")
UUID = r"^[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"

Broken = dict[int, RejectedRecord]
"""Rows of a set of columns that must be taken out, and why; the first rule that a row breaks names it."""


def find_unmatched(name: str, array: pa.Array[Any], pattern: str, sentence: str, broken: Broken) -> None:
    """Find the texts in which the pattern matches nowhere; NULL passes."""
    for row in _rows(pc.invert(pc.match_substring_regex(array, pattern))):
        text = storable(f"{name} {array[row].as_py()!r:.200} {sentence}")
        broken.setdefault(row, RejectedRecord("invalid_event", text))


def find_missing(name: str, array: pa.Array[Any], broken: Broken) -> None:
    """Find what has no value."""
    if array.null_count:
        for row in _rows(pc.is_null(array)):
            broken.setdefault(row, RejectedRecord("invalid_event", f"{name} has no value after the clean-up"))


def find_out_of_bounds(name: str, array: pa.Array[Any], kind: Any, broken: Broken) -> None:
    """Find the values that the decoder wouldn't take in a field of this type; NULL passes.

    Args:
        name: The column's name.
        array: Its values.
        kind: The field's type, with its `msgspec.Meta`.
        broken: Gets what is found.
    """
    values = array.to_pylist()
    try:
        msgspec.convert(values, list[kind | None])
    except msgspec.ValidationError:
        for row, value in enumerate(values):
            try:
                msgspec.convert(value, kind | None)
            except msgspec.ValidationError as error:
                text = storable(f"{name} {value!r:.200} after the clean-up: {error}")
                broken.setdefault(row, RejectedRecord("invalid_event", text))


def find_unstorable(arrays: Mapping[str, pa.Array[Any]], broken: Broken) -> None:
    """Find the values that their Arrow type can hold, but not every table."""
    for name, array in arrays.items():
        if pa.types.is_string(array.type):
            _find_nul(name, array, broken)
        elif pa.types.is_timestamp(array.type):
            _find_outside(name, array.cast(pa.int64()), (_FIRST_US, _LAST_US), broken)
        elif pa.types.is_date32(array.type):
            _find_outside(name, array.cast(pa.int32()), (_FIRST_DAY, _LAST_DAY), broken)


def find_no_json(name: str, array: pa.Array[Any], broken: Broken) -> None:
    """Find the texts that aren't JSON; NULL passes."""
    for row, text in enumerate(array.to_pylist()):
        try:
            msgspec.json.decode(text or "null")
        except (msgspec.MsgspecError, RecursionError) as error:
            sentence = storable(f"{name} {text!r:.200} isn't JSON after the clean-up: {error}")
            broken.setdefault(row, RejectedRecord("invalid_event", sentence))


def find_unstorable_json(name: str, array: pa.Array[Any], broken: Broken) -> None:
    """Find the JSON that a text may be, but not every table's JSON."""
    for row in _rows(pc.match_substring_regex(array, _PERHAPS_UNSTORABLE)):
        if row not in broken:
            if _has_nul(array[row].as_py()):
                message = f"{name} contains U+0000, which no table can hold"
                broken[row] = RejectedRecord("nul_character", message)
            elif _has_wide_number(array[row].as_py()):
                message = (
                    f"{name} has a number that is none, or of over {_MOST_DIGITS} digits before or behind the point"
                )
                broken[row] = RejectedRecord("out_of_range", message)


def _has_nul(document: str) -> bool:
    # A backslash that is escaped itself begins nothing.
    return "\\u0000" in document.replace("\\\\", "")


def _has_wide_number(document: str) -> bool:
    """Whether it has one; none of a `Decimal`'s that are no number is one of JSON either."""
    for number in map(Decimal, _NUMBERS.findall(_TEXTS.sub("", document))):
        exponent = number.as_tuple().exponent
        if not isinstance(exponent, int) or number.adjusted() > _MOST_DIGITS or exponent < -_MOST_DIGITS:
            return True
    return False


def find_long_key(key: Mapping[str, pa.Array[Any]], broken: Broken) -> None:
    """Find the keys that are too long for a unique index, which holds all their columns together."""
    texts = [column for column in key.values() if isinstance(column, pa.StringArray | pa.BinaryArray)]
    if texts:
        length = reduce(pc.add, map(pc.binary_length, texts))
        for row in _rows(pc.greater(length, pa.scalar(_KEY_BYTES))):
            sentence = f"the key {', '.join(key)} has more than the {_KEY_BYTES} bytes that a unique index can hold"
            broken.setdefault(row, RejectedRecord("out_of_range", sentence))


def _find_nul(name: str, array: pa.Array[Any], broken: Broken) -> None:
    data = array.buffers()[2]
    # One memchr over all texts of the chunk; rows are only looked at when it finds something.
    if data is None or b"\0" not in data.to_pybytes():
        return
    for row in _rows(pc.match_substring(array, "\0")):
        broken.setdefault(row, RejectedRecord("nul_character", f"{name} contains U+0000, which no table can hold"))


def _find_outside(name: str, counted: pa.Array[Any], calendar: tuple[int, int], broken: Broken) -> None:
    first, last = (pa.scalar(end, counted.type) for end in calendar)
    for row in _rows(pc.or_(pc.less(counted, first), pc.greater(counted, last))):
        message = f"{name} lies outside the years 0001 to 9999 in UTC"
        broken.setdefault(row, RejectedRecord("out_of_range", message))


def _rows(mask: pa.BooleanArray) -> list[int]:
    """Indices of the rows where the mask is true; a null is not."""
    if not pc.any(mask).as_py():
        return []
    rows: list[int] = pc.indices_nonzero(mask.fill_null(False)).to_pylist()  # type: ignore[assignment]
    return rows
