"""Secrets that were planted, and the search for them in everything that a run leaves."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

_CORE = re.compile(r"[A-Za-z0-9]{16,}")
"""What stays as it is when a text is escaped for JSON, for a URI, for Python or for a log."""


def forms(secret: str) -> set[bytes]:
    """How a secret would be seen, whatever it is escaped for: its plain stretches, also as base64 at any alignment."""
    cores = [core.encode() for core in _CORE.findall(secret)]
    assert cores, "a secret that could not be told from other texts"
    found = set(cores)
    for core in cores:
        for shift in range(3):
            encoded = base64.b64encode(b"\0" * shift + core)
            # The first and last characters also depend on what stands beside.
            found.add(encoded[4:-4])
    return found


def places_of(secrets: Iterable[str], contents: Iterable[tuple[str, bytes]]) -> list[str]:
    """Name the places in whose content a secret is seen."""
    patterns = re.compile(b"|".join(sorted(re.escape(form) for secret in secrets for form in forms(secret))))
    return [f"{place}: {_around(found, content)}" for place, content in contents if (found := patterns.search(content))]


def contents_below(*folders: Path) -> Iterator[tuple[str, bytes]]:
    """Give the content of every file below these folders."""
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.is_symlink():
                yield str(path), path.read_bytes()


def _around(found: re.Match[bytes], content: bytes) -> str:
    return content[max(0, found.start() - 120) : found.end() + 40].decode(errors="replace")
