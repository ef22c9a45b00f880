"""A secret in all the forms in which a log could show it."""

from __future__ import annotations

import json
from urllib.parse import quote, quote_plus

_SHORTEST_LINE = 16


def forms_of(secret: str) -> list[str]:
    """Give every text that has to be masked for a secret to stay one.

    Returns:
        The secret as it is, as JSON, Python and a URI write it, and likewise each line of one that has several,
        such as a key; not the lines that frame every key.
    """
    lines = [line for line in secret.splitlines() if len(line) >= _SHORTEST_LINE and "-----" not in line]
    found: dict[str, None] = {}
    for text in (secret, *lines):
        written = (text, json.dumps(text)[1:-1], repr(text)[1:-1], quote(text, safe=""), quote_plus(text))
        found |= dict.fromkeys(written)
    return [text for text in found if text]
