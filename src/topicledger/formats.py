"""In which format a topic's records are: what a pipeline declares of them. Pure; imports nothing large."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Json:
    """A value is JSON in UTF-8, as the event type describes it."""

    asks_registry: ClassVar[bool] = False
    """Whether a schema registry is asked for schemas."""

    is_text: ClassVar[bool] = True
    """Whether a value that is an event is UTF-8, with no number but finite ones."""


Format = Json
"""Every format there is."""
