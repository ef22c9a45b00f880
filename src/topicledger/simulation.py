"""The simulated source of sign-ups: what the DAG produces when nobody else does.

Made by columns, a block at a time: a benchmark wants millions.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import random
from collections.abc import Iterator
from itertools import product
from typing import Any, cast

import pyarrow as pa
import pyarrow.compute as pc

_FIRST = (
    "Ada",
    "Blaise",
    "Chandra",
    "Dorothy",
    "Emmy",
    "François",
    "Grace",
    "Hedy",
    "Ibn",
    "Joan",
    "Katherine",
)
_LAST = (
    "Lovelace",
    "Pascal",
    "Vaughan",
    "Noether",
    "Hopper",
    "Núñez",
    "O'Brien",
    "Østergård",
    "Müller",
    "Ng",
)
_DOMAINS = ("Example.com", "Example.org", "Example.net", "Mail.Example")
_COUNTRIES = ("DE", "FR", "GB", "US", "IN", "BR", "JP", "NG", "SE", "ZA")
_PLANS = ("free", "free", "free", "pro", "team")
_SOURCES = ("organic", "ads", "referral", "social")
_DAY_S = 86_400

_BLOCK = 10_000
_DRAWN_BYTES = 32
"""Random bytes of one sign-up: 16 for its id, 4 for the person, 4 for the user's number, 8 for all else."""
_PEOPLE = [(first, last) for first in _FIRST for last in _LAST]
_USERNAMES = pa.array([f',"username":" {first.lower()}' for first, _ in _PEOPLE])
_EMAILS = pa.array([f' ","email":"{first}.' for first, _ in _PEOPLE])
_FULL_NAMES = pa.array([f'"{first} {last}"' for first, last in _PEOPLE])
_AT_DOMAINS = pa.array([f'@{domain}","full_name":' for domain in _DOMAINS])
_CHOICES = pa.array(
    [
        f',"country":"{country}","plan":"{plan}","source":"{source}","marketing_opt_in":{opt_in},"signed_up_at":"'
        for country, plan, source, opt_in in product(_COUNTRIES, _PLANS, _SOURCES, ("true", "false"))
    ]
)


def simulate(
    count: int, *, malformed: float, seed: int, run_key: str, at: dt.datetime
) -> Iterator[tuple[bytes, bytes]]:
    """Simulate a batch of sign-ups: the same (run_key, seed) gives the same bytes, however often it is asked.

    That is what makes a producer's retry harmless: its records carry the same `event_id`s and payloads.

    Args:
        count: How many records.
        malformed: Share of them that are broken, from 0 to 1; exactly `round(count * malformed)` are.
        seed: The simulation's seed.
        run_key: Names the run; another run gives other `event_id`s.
        at: The run's own time, not the clock: the sign-ups happened in the 24 hours before it.

    Yields:
        (key, value): the key is `user_id`.
    """
    digest = hashlib.sha256(f"{seed}:{run_key}".encode()).digest()
    rng = random.Random(digest)  # noqa: S311 - simulated data, no secret
    broken = set(rng.sample(range(count), round(count * malformed)))
    start = at.astimezone(dt.UTC).replace(microsecond=0, tzinfo=None) - dt.timedelta(days=1)
    for first in range(0, count, _BLOCK):
        drawn = rng.randbytes(_DRAWN_BYTES * min(_BLOCK, count - first))
        for index, (key, value) in enumerate(_sign_ups(drawn, start), first):
            yield key, _break(value, index) if index in broken else value


def _sign_ups(drawn: bytes, start: dt.datetime) -> Iterator[tuple[bytes, bytes]]:
    """Make a block of sign-ups of their random numbers."""
    words, longs = _drawn(drawn, pa.uint32()), _drawn(drawn, pa.uint64())
    person, user_id, rest = words[4], _modulo(words[5], 100_000_000), longs[3]
    who, user = _modulo(person, len(_PEOPLE)), user_id.cast(pa.string())
    nameless = pc.equal(_modulo(_shifted(person, 16), 16), _like(person, 0))
    microseconds = pc.add(
        pc.multiply(_modulo(rest, _DAY_S), _like(rest, 1_000_000)), _modulo(_shifted(rest, 20), 1_000_000)
    )
    since = microseconds.cast(pa.int64()).cast(pa.duration("us"))
    times = pc.add(pa.scalar(start, pa.timestamp("us")), since).cast(pa.string())
    values = _joined(
        '{"event_id":"',
        *_uuids(drawn),
        '","user_id":',
        user,
        _USERNAMES.take(who),
        _modulo(user_id, 1_000).cast(pa.string()),
        _EMAILS.take(who),
        user,
        _AT_DOMAINS.take(_modulo(_shifted(person, 24), len(_AT_DOMAINS))),
        pc.if_else(nameless, "null", _FULL_NAMES.take(who)),
        _CHOICES.take(_modulo(_shifted(rest, 44), len(_CHOICES))),
        pc.utf8_replace_slice(times, 10, 11, "T"),
        '+00:00"}',
    )
    return zip(_encoded(user), _encoded(values), strict=True)


def _drawn(drawn: bytes, kind: pa.DataType) -> list[pa.Array[Any]]:
    """The drawn numbers of all sign-ups, taken as numbers of this kind: one array per place."""
    width = kind.bit_width // 8
    numbers = pa.Array.from_buffers(kind, len(drawn) // width, [None, pa.py_buffer(drawn)])
    places = _DRAWN_BYTES // width
    each = pa.FixedSizeListArray.from_arrays(numbers, places)
    return [pc.list_element(each, place) for place in range(places)]


def _uuids(drawn: bytes) -> list[pa.Array[Any] | str]:
    """The parts of each sign-up's random UUID."""
    count, digits = len(drawn) // _DRAWN_BYTES, pa.py_buffer(drawn.hex().encode())
    each = pa.Array.from_buffers(pa.binary(2 * _DRAWN_BYTES), count, [None, digits])
    parts = [pc.binary_slice(each, *ends).cast(pa.string()) for ends in ((0, 8), (8, 12), (13, 16), (17, 20), (20, 32))]
    return [parts[0], "-", parts[1], "-4", parts[2], "-a", parts[3], "-", parts[4]]


def _modulo(numbers: pa.Array[Any], divisor: int) -> pa.Array[Any]:
    divisors = _like(numbers, divisor)
    return pc.subtract(numbers, pc.multiply(pc.divide(numbers, divisors), divisors))


def _shifted(numbers: pa.Array[Any], bits: int) -> pa.Array[Any]:
    return pc.shift_right(numbers, _like(numbers, bits))


def _like(numbers: pa.Array[Any], value: int) -> pa.Scalar[Any]:
    scalar: pa.Scalar[Any] = pa.scalar(value, numbers.type)
    return scalar


def _joined(*parts: pa.Array[Any] | str) -> pa.Array[Any]:
    joined: pa.Array[Any] = pc.binary_join_element_wise(*parts, "")  # type: ignore[call-overload] # knows no scalars
    return joined


def _encoded(texts: pa.Array[Any]) -> list[bytes]:
    return cast("list[bytes]", texts.cast(pa.binary()).to_pylist())


def _break(value: bytes, index: int) -> bytes:
    """Break a record in one of the ways that real producers do."""
    match index % 6:
        case 0:
            return value[: len(value) // 2]
        case 1:
            return b"<html>502 Bad Gateway</html>"
        case 2:
            return value.replace(b'"country":"', b'"country":"X', 1)
        case 3:
            return value.replace(b'"user_id":', b'"user_id":"', 1).replace(b',"username"', b'","username"', 1)
        case 4:
            return value.replace(b"@Example", b"\xff\xfe@Example", 1) if b"@Example" in value else b"\xff" + value
        case _:
            return value.replace(b'"email"', b'"e_mail"', 1)
