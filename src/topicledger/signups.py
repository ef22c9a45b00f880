"""The shipped pipeline: the sign-up event and its clean-up."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec

from topicledger.columns import Column
from topicledger.event_fields import columns_of
from topicledger.pipeline import Check, Pipeline

if TYPE_CHECKING:
    import pyarrow as pa

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


_SPACE = r"\x09-\x0d\x1c-\x20\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}"
"""White space as Unicode has it, which is what the clean-up trims; RE2's `\\s` is ASCII's."""

_BLANK = (
    r"\x00-\x20\x7f-\x{a0}\x{ad}\x{115f}\x{1160}\x{1680}\x{180e}\x{2000}-\x{200f}\x{2028}-\x{202f}\x{205f}-\x{206f}"
    r"\x{2800}\x{3000}\x{3164}\x{feff}\x{ffa0}"
)
"""What shows nothing: white space, control characters, what has no width (such as U+200B and U+FEFF), the soft hyphen,
the fillers of Hangul and the blank of braille. Spelled out: by Unicode's categories, RE2 takes twice as long."""


class SignUp(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One sign-up as producers send it: JSON in UTF-8, `signed_up_at` in RFC 3339 with an offset."""

    event_id: str
    user_id: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
    username: str
    email: str
    full_name: str | None = None
    country: Country
    plan: Literal["free", "pro", "team"]
    source: Literal["organic", "ads", "referral", "social"]
    marketing_opt_in: bool
    signed_up_at: Annotated[dt.datetime, msgspec.Meta(tz=True)]


def clean(columns: Mapping[str, pa.Array[Any]]) -> dict[str, pa.Array[Any]]:
    """Trim texts, put e-mail in lower case, derive `email_domain` and `signup_date` (UTC)."""
    # Imported here: Airflow imports the declaration each time it parses the DAG file.
    import pyarrow as pa
    import pyarrow.compute as pc

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
    key="event_id",
    columns=columns_of(
        SignUp, Column("event_id", "uuid"), Column("email_domain", "text"), Column("signup_date", "date")
    ),
    clean=clean,
    checks=(
        Check("username", f"[^{_BLANK}]", "is blank"),
        Check("email", f"^[{_SPACE}]*[^@{_BLANK}]+@[^@{_BLANK}]+[{_SPACE}]*$", "is not an e-mail address"),
    ),
)
