"""The shipped pipeline: the sign-up event, its clean-up, and the simulated source that `make run` uses."""

from __future__ import annotations

import datetime as dt
import hashlib
import random
import struct
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Annotated, Any, Literal

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from topicledger.pipeline import Check, Column, Pipeline

# fmt: off
Country = Literal[
    "AD", "AE", "AF", "AG", "AI", "AL", "AM", "AO", "AQ", "AR", "AS", "AT", "AU", "AW", "AX", "AZ", "BA", "BB",
    "BD", "BE", "BF", "BG", "BH", "BI", "BJ", "BL", "BM", "BN", "BO", "BQ", "BR", "BS", "BT", "BV", "BW", "BY",
    "BZ", "CA", "CC", "CD", "CF", "CG", "CH", "CI", "CK", "CL", "CM", "CN", "CO", "CR", "CU", "CV", "CW", "CX",
    "CY", "CZ", "DE", "DJ", "DK", "DM", "DO", "DZ", "EC", "EE", "EG", "EH", "ER", "ES", "ET", "FI", "FJ", "FK",
    "FM", "FO", "FR", "GA", "GB", "GD", "GE", "GF", "GG", "GH", "GI", "GL", "GM", "GN", "GP", "GQ", "GR", "GS",
    "GT", "GU", "GW", "GY", "HK", "HM", "HN", "HR", "HT", "HU", "ID", "IE", "IL", "IM", "IN", "IO", "IQ", "IR",
    "IS", "IT", "JE", "JM", "JO", "JP", "KE", "KG", "KH", "KI", "KM", "KN", "KP", "KR", "KW", "KY", "KZ", "LA",
    "LB", "LC", "LI", "LK", "LR", "LS", "LT", "LU", "LV", "LY", "MA", "MC", "MD", "ME", "MF", "MG", "MH", "MK",
    "ML", "MM", "MN", "MO", "MP", "MQ", "MR", "MS", "MT", "MU", "MV", "MW", "MX", "MY", "MZ", "NA", "NC", "NE",
    "NF", "NG", "NI", "NL", "NO", "NP", "NR", "NU", "NZ", "OM", "PA", "PE", "PF", "PG", "PH", "PK", "PL", "PM",
    "PN", "PR", "PS", "PT", "PW", "PY", "QA", "RE", "RO", "RS", "RU", "RW", "SA", "SB", "SC", "SD", "SE", "SG",
    "SH", "SI", "SJ", "SK", "SL", "SM", "SN", "SO", "SR", "SS", "ST", "SV", "SX", "SY", "SZ", "TC", "TD", "TF",
    "TG", "TH", "TJ", "TK", "TL", "TM", "TN", "TO", "TR", "TT", "TV", "TW", "TZ", "UA", "UG", "UM", "US", "UY",
    "UZ", "VA", "VC", "VE", "VG", "VI", "VN", "VU", "WF", "WS", "YE", "YT", "ZA", "ZM", "ZW",
]
"""ISO 3166-1 alpha-2."""
# fmt: on


class SignUp(msgspec.Struct, frozen=True, gc=False):
    """One sign-up as producers send it: JSON in UTF-8, `signed_up_at` in RFC 3339 with an offset."""

    event_id: str
    user_id: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
    username: str
    email: str
    country: Country
    plan: Literal["free", "pro", "team"]
    source: Literal["organic", "ads", "referral", "social"]
    marketing_opt_in: bool
    signed_up_at: Annotated[dt.datetime, msgspec.Meta(tz=True)]
    full_name: str | None = None


def clean(columns: Mapping[str, pa.Array[Any]]) -> dict[str, pa.Array[Any]]:
    """Trim texts, put e-mail in lower case, derive `email_domain` and `signup_date` (UTC)."""
    cleaned = dict(columns)
    for name in ("username", "email", "full_name"):
        cleaned[name] = pc.utf8_trim_whitespace(columns[name])
    cleaned["email"] = pc.utf8_lower(cleaned["email"])
    cleaned["email_domain"] = pc.list_element(pc.split_pattern(cleaned["email"], "@"), 1)
    cleaned["signup_date"] = pc.cast(columns["signed_up_at"], pa.date32(), safe=False)
    return cleaned


SIGNUPS = Pipeline(
    name="robust_kafka_etl_pipeline",
    topic="user_signups",
    event=SignUp,
    columns=(
        Column("event_id", "uuid"),
        Column("user_id", "int64"),
        Column("username", "text"),
        Column("email", "text"),
        Column("full_name", "text", nullable=True),
        Column("country", "text"),
        Column("plan", "text"),
        Column("source", "text"),
        Column("marketing_opt_in", "bool"),
        Column("signed_up_at", "timestamptz"),
        Column("email_domain", "text"),
        Column("signup_date", "date"),
    ),
    key="event_id",
    table="user_signups",
    clean=clean,
    checks=(
        Check("username", r"\S", "is blank"),
        Check("email", r"^\s*[^@\s]+@[^@\s]+\s*$", "is not an e-mail address"),
    ),
)

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

_BLOCK = 1_000
_DRAW = struct.Struct("<16sIIQ")
"""Random numbers of one sign-up: its id, the person, the user's number, the rest."""
_PEOPLE = tuple(
    (f'"username":" {first.lower()}', f'"email":"{first}.', f'"{first} {last}"') for first in _FIRST for last in _LAST
)
_CHOICES = tuple(
    f'"country":"{country}","plan":"{plan}","source":"{source}","marketing_opt_in":{opt_in},"signed_up_at":"'
    for country, plan, source, opt_in in product(_COUNTRIES, _PLANS, _SOURCES, ("true", "false"))
)
_MINUTES = tuple(f"{hour:02}:{minute:02}" for hour, minute in product(range(24), range(60)))


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
    start = at.astimezone(dt.UTC) - dt.timedelta(seconds=_DAY_S)
    midnight_s = start.hour * 3600 + start.minute * 60 + start.second
    days = [f"{start + dt.timedelta(days=day):%Y-%m-%d}" for day in (0, 1)]
    for first in range(0, count, _BLOCK):
        drawn = rng.randbytes(_DRAW.size * min(_BLOCK, count - first))
        for index, (identifier, person, user, rest) in enumerate(_DRAW.iter_unpack(drawn), first):
            key, value = _sign_up(identifier.hex(), person, user % 100_000_000, rest, midnight_s, days)
            yield key, _break(value, index) if index in broken else value


def _sign_up(
    identifier: str, person: int, user_id: int, rest: int, start_s: int, days: Sequence[str]
) -> tuple[bytes, bytes]:
    """Make one sign-up of its random numbers. Most of its text lies ready: millions are made for a benchmark."""
    username, email, full_name = _PEOPLE[person % len(_PEOPLE)]
    if not person >> 16 & 15:
        full_name = "null"
    day, second = divmod(start_s + rest % _DAY_S, _DAY_S)
    minute, second = divmod(second, 60)
    value = (
        f'{{"event_id":"{identifier[:8]}-{identifier[8:12]}-4{identifier[13:16]}-a{identifier[17:20]}-{identifier[20:]}",'
        f'"user_id":{user_id},{username}{user_id % 1000} ",'
        f'{email}{user_id}@{_DOMAINS[person >> 24 & 3]}","full_name":{full_name},'
        f"{_CHOICES[(rest >> 44) % len(_CHOICES)]}"
        f'{days[day]}T{_MINUTES[minute]}:{second:02}.{(rest >> 20) % 1_000_000:06}+00:00"}}'
    )
    return b"%d" % user_id, value.encode()


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
