"""Every kind of bad record, with the reason and a part of the sentence that its dead letter must carry."""

from __future__ import annotations

from dataclasses import dataclass

from tests.support.records import good


@dataclass(frozen=True)
class Bad:
    """One bad value and what its dead letter says; `row` is its kind's number in docs/faults.md."""

    row: int
    name: str
    value: bytes
    reason: str
    says: str


_LINES = b'{\n  "event_id": "\xc3\xa9",\n  "user_id": oops\n}'
_WHOLE = good(900_000)


def _field(name: str, json: bytes) -> bytes:
    """A good record in which the JSON of one field is another."""
    marked = good(900_001, **{name: "@@@"})
    return marked.replace(b'"@@@"', json)


def _nested(depth: int) -> bytes:
    """A good record with a field that no event has, nested."""
    return _WHOLE[:-1] + b', "x": ' + b"[" * depth + b"]" * depth + b"}"


BAD = (
    Bad(53, "not JSON", b"<html>502 Bad Gateway</html>", "invalid_json", "line 1 column 1"),
    Bad(53, "no JSON value, on a later line", _LINES, "invalid_json", "line 3 column 14 (char 34)"),
    Bad(53, "truncated", _WHOLE[: len(_WHOLE) // 2], "invalid_json", f"(char {len(_WHOLE) // 2})"),
    Bad(53, "trailing data", _WHOLE + b" trailing", "invalid_json", f"line 1 column {len(_WHOLE) + 2} "),
    Bad(53, "two documents", _WHOLE + b"\n" + _WHOLE, "invalid_json", "line 2 column 1 "),
    Bad(53, "two documents without a space", _WHOLE + _WHOLE, "invalid_json", f"line 1 column {len(_WHOLE) + 1} "),
    Bad(53, "BOM", b"\xef\xbb\xbf" + _WHOLE, "invalid_json", "line 1 column 1"),
    Bad(53, "UTF-16 with BOM", _WHOLE.decode().encode("utf-16"), "invalid_utf8", "at byte 0"),
    Bad(53, "UTF-16 without BOM", _WHOLE.decode().encode("utf-16-le"), "invalid_json", "line 1 column 2"),
    Bad(
        52, "invalid UTF-8 in a text", _field("username", b'"a\xff\xfeb"'), "invalid_utf8", "invalid start byte at byte"
    ),
    Bad(52, "invalid UTF-8 in an unknown field", _WHOLE[:-1] + b', "x": "\xff"}', "invalid_utf8", "at byte"),
    Bad(52, "surrogate in UTF-8", _field("username", b'"\xed\xa0\x80"'), "invalid_utf8", "at byte"),
    Bad(60, "lone surrogate", _field("username", rb'"\ud800"'), "invalid_json", "column"),
    Bad(60, "lone low surrogate", _field("full_name", rb'"a\udfffb"'), "invalid_json", "column"),
    Bad(60, "two halves in the wrong order", _field("username", rb'"\udc00\ud800"'), "invalid_json", "column"),
    Bad(60, "lone surrogate in an unknown name", _WHOLE[:-1] + rb', "\ud800": 1}', "invalid_json", "column"),
    Bad(61, "U+0000", _field("username", rb'"a\u0000b"'), "nul_character", "username contains U+0000"),
    Bad(61, "U+0000, raw", _field("username", b'"a\x00b"'), "invalid_json", "column"),
    Bad(54, "NaN", _field("user_id", b"NaN"), "invalid_json", "column"),
    Bad(54, "Infinity", _field("user_id", b"Infinity"), "invalid_json", "column"),
    Bad(54, "minus Infinity", _field("user_id", b"-Infinity"), "invalid_json", "column"),
    Bad(54, "too large a float", _field("user_id", b"1e400"), "invalid_event", "out of range"),
    Bad(54, "too large a float in an unknown field", _WHOLE[:-1] + b', "x": 1e400}', "invalid_event", "out of range"),
    Bad(56, "nested 10,000 deep", b"[" * 10_000 + b"]" * 10_000, "too_deep", "nested too deeply"),
    Bad(56, "nested 10,000 deep in an unknown field", _nested(10_000), "too_deep", "nested too deeply"),
    Bad(56, "nested 100,000 deep", b"[" * 100_000 + b"]" * 100_000, "too_deep", "nested too deeply"),
    Bad(56, "nested deep in a field", _field("username", b"[" * 100_000 + b"]" * 100_000), "too_deep", "nested"),
    Bad(56, "nested deep, then truncated", b'{"a":' * 100_000, "too_deep", "nested too deeply"),
    Bad(57, "400-digit integer", _field("user_id", b"9" * 400), "invalid_event", "$.user_id"),
    Bad(57, "5,000-digit integer", _field("user_id", b"9" * 5_000), "invalid_event", "$.user_id"),
    Bad(
        57,
        "5,000-digit integer in an unknown field",
        _WHOLE[:-1] + b', "x": ' + b"9" * 5_000 + b"}",
        "invalid_event",
        "out",
    ),
    Bad(57, "integer past int64", _field("user_id", b"9223372036854775808"), "invalid_event", "$.user_id"),
    Bad(63, "negative integer", _field("user_id", b"-1"), "invalid_event", "$.user_id"),
    Bad(58, "bool for int", _field("user_id", b"true"), "invalid_event", "$.user_id"),
    Bad(63, "float for int", _field("user_id", b"1.5"), "invalid_event", "$.user_id"),
    Bad(63, "string for int", _field("user_id", b'"1"'), "invalid_event", "$.user_id"),
    Bad(63, "int for bool", _field("marketing_opt_in", b"1"), "invalid_event", "$.marketing_opt_in"),
    Bad(63, "int for text", _field("username", b"1"), "invalid_event", "$.username"),
    Bad(63, "null for text", _field("username", b"null"), "invalid_event", "$.username"),
    Bad(63, "blank text", _field("username", b'" \\t "'), "invalid_event", "username"),
    Bad(63, "no e-mail address", _field("email", b'"nobody"'), "invalid_event", "is not an e-mail address"),
    Bad(150, "blank name: ideographic space", _field("username", '"\u3000"'.encode()), "invalid_event", "is blank"),
    Bad(
        106,
        "blank name: shows nothing",
        _field("username", rb'"\u200b\ufeff\u2060\u3164"'),
        "invalid_event",
        "is blank",
    ),
    Bad(
        106, "address of blanks", _field("email", '"\u00a0@\u00a0"'.encode()), "invalid_event", "not an e-mail address"
    ),
    Bad(150, "domain of blanks", _field("email", rb'"ada@\u2003\u000b"'), "invalid_event", "not an e-mail address"),
    Bad(
        106,
        "blank in an address",
        _field("email", rb'"a\u3000b@example.com"'),
        "invalid_event",
        "not an e-mail address",
    ),
    Bad(
        106, "BOM at an address", _field("email", rb'"\ufeffada@example.com"'), "invalid_event", "not an e-mail address"
    ),
    Bad(63, "no UUID", _field("event_id", b'"1"'), "invalid_event", "is not a UUID"),
    Bad(63, "naive time", _field("signed_up_at", b'"2026-01-02T03:04:05"'), "invalid_event", "$.signed_up_at"),
    Bad(63, "no time", _field("signed_up_at", b'"yesterday"'), "invalid_event", "$.signed_up_at"),
    Bad(
        63, "time before year 1 in UTC", _field("signed_up_at", b'"0001-01-01T00:00:00+01:00"'), "out_of_range", "0001"
    ),
    Bad(63, "time past year 9999", _field("signed_up_at", b'"9999-12-31T23:59:59-01:00"'), "out_of_range", "9999"),
    Bad(63, "unknown country", _field("country", b'"XX"'), "invalid_event", "$.country"),
    Bad(63, "unknown plan", _field("plan", b'"gold"'), "invalid_event", "$.plan"),
    Bad(63, "missing field", good(900_002, country=...), "invalid_event", "country"),
    Bad(63, "renamed field", good(900_003, email=..., e_mail="a@example.com"), "invalid_event", "email"),
    Bad(63, "array", b"[]", "invalid_event", "object"),
    Bad(63, "null", b"null", "invalid_event", "object"),
    Bad(63, "number", b"12", "invalid_event", "object"),
    Bad(62, "empty value", b"", "empty_value", "no bytes"),
    Bad(53, "white space", b" \n ", "invalid_json", "line 2 column 2"),
)
