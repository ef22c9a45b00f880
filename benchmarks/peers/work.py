"""What the others are told, the rules as one would write them by hand for them, and whether they did it all.

Needs nothing but Python, so that it is there in every environment.
"""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import MALFORMED

_FIELDS = ("event_id", "user_id", "username", "email", "full_name", "country", "plan", "source", "marketing_opt_in")
COLUMNS = (*_FIELDS, "signed_up_at", "email_domain", "signup_date")
PLACE = ("partition", "offset", "timestamp")
REFUSED = (ValueError, KeyError, TypeError, AttributeError)
"""What `cleaned` raises."""

_PLANS = frozenset(["free", "pro", "team"])


@dataclass(frozen=True)
class Work:
    """The same as a `Setting`'s.

    Args:
        bootstrap: The broker.
        topic: The topic.
        records: How many records are on it.
        folder: A private folder.
        malformed: The share of them that is.
    """

    bootstrap: str
    topic: str
    records: int
    folder: Path
    malformed: float = MALFORMED

    @classmethod
    def from_json(cls, text: str) -> Work:
        """Take it from a setting's JSON."""
        fields: dict[str, Any] = json.loads(text)
        return cls(**{name: fields[name] for name in ("bootstrap", "topic", "records")}, folder=Path(fields["folder"]))

    @property
    def rows(self) -> Path:
        """The file for the rows."""
        return self.folder / "rows.csv"

    @property
    def rejected(self) -> Path:
        """The file for what is malformed."""
        return self.folder / "rejected.csv"

    @property
    def group(self) -> str:
        """A consumer group that nobody else has."""
        return f"peer-{self.folder.name}"


def cleaned(value: bytes) -> tuple[Any, ...]:
    """Judge and clean up one record by the shipped pipeline's rules; gives it in the order of `COLUMNS`."""
    event = json.loads(value)
    return cleaned_event(event, datetime.fromisoformat(event["signed_up_at"]))


def cleaned_event(event: Any, at: datetime) -> tuple[Any, ...]:
    """The same of an event that was decoded.

    Args:
        event: Its fields by their names.
        at: When it was.
    """
    email = event["email"].strip().lower()
    if email.count("@") != 1 or at.tzinfo is None or not event["username"].strip() or len(event["country"]) != 2:
        raise ValueError(email)
    if not isinstance(event["user_id"], int) or len(event["event_id"]) != 36 or event["plan"] not in _PLANS:
        raise TypeError(event["user_id"])
    at = at.astimezone(UTC)
    full_name = event.get("full_name")
    fields = (event["event_id"], event["user_id"], event["username"].strip(), email, full_name and full_name.strip())
    kinds = (event["country"], event["plan"], event["source"], event["marketing_opt_in"])
    return (*fields, *kinds, at.isoformat(), email.partition("@")[2], at.date())


def require_files(work: Work, *, headers: tuple[int, int]) -> None:
    """Hold that both files have what they must.

    Args:
        work: The work.
        headers: How many lines of either file are headers.

    Raises:
        ValueError: They haven't.
    """
    rows, rejected = (_csv_rows(path, skip) for path, skip in zip((work.rows, work.rejected), headers, strict=True))
    require_all(work, rows, rejected)


def require_all(work: Work, rows: int, rejected: int, *, every_rule: bool = True) -> None:
    """Hold that there are as many rows and rejected ones as records, and just the malformed ones are rejected.

    Args:
        work: The work.
        rows: Good records that were found afterwards.
        rejected: The others.
        every_rule: False: it can't know all rules, so that some malformed ones get through.

    Raises:
        ValueError: It isn't so.
    """
    malformed = round(work.records * work.malformed)
    if rows + rejected != work.records or rejected > malformed or (every_rule and rejected < malformed):
        raise ValueError(f"{rows} rows and {rejected} rejected of {work.records} records, {malformed} malformed")


def _csv_rows(path: Path, headers: int) -> int:
    if not path.exists():
        return 0
    with path.open(newline="") as file:
        return sum(1 for _ in csv.reader(file)) - headers
