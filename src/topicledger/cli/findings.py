"""What `topicledger check` tells: a line each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from topicledger.errors import TopicLedgerError


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the answer; that of a problem ends with its next step."""

    kind: Literal["ok", "note", "problem"]
    text: str


def one_line(error: TopicLedgerError) -> str:
    """An error's first line, and its code. Further lines are statements for a database administrator."""
    first, _, statements = str(error).partition("\n")
    return f"{first} (`topicledger check --ddl` prints the statements) [{error.code}]" if statements else first
