"""Ports of this machine: found free, and kept for the same data while they stay free."""

from __future__ import annotations

import json
import random
import socket
from typing import TYPE_CHECKING

from devstack.errors import StackError

if TYPE_CHECKING:
    from pathlib import Path

LOCALHOST = "127.0.0.1"

# Below the range from which systems take the ports of outgoing connections: what is free stays free.
_LOWEST, _HIGHEST = 20_000, 32_000
_TRIES = 200


def is_free(port: int) -> bool:
    """Tells whether a server could listen on this port of 127.0.0.1 now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOCALHOST, port))
        except OSError:
            return False
        return True


def free_port(taken: set[int] | None = None) -> int:
    """Returns a port of 127.0.0.1 on which nothing listens and that is not in `taken`."""
    for _ in range(_TRIES):
        port = random.randint(_LOWEST, _HIGHEST)  # noqa: S311 - no secret
        if port not in (taken or ()) and is_free(port):
            return port
    raise StackError(
        f"No free port on {LOCALHOST} between {_LOWEST} and {_HIGHEST} in {_TRIES} tries.",
        "Stop what listens there (`ss -ltnp` shows it).",
    )


def wanted_port(port: int, setting: str) -> int:
    """Returns the port that a person asked for.

    Raises:
        StackError: something listens on it.
    """
    if not is_free(port):
        raise StackError(
            f"Port {port} on {LOCALHOST} is in use, and {setting} asks for it.",
            f"Stop what listens there (`ss -ltnp 'sport = :{port}'` shows it), or unset {setting}: "
            "a free port is then taken.",
        )
    return port


def remembered_ports(names: list[str], file: Path) -> dict[str, int]:
    """Returns one free port for each name: the same as last time where that is still free.

    The choice is written to `file`, so that clients of the same data find the same address again.
    """
    known: dict[str, int] = json.loads(file.read_text()) if file.exists() else {}
    chosen: dict[str, int] = {}
    for name in names:
        before = known.get(name)
        keep = before is not None and before not in chosen.values() and is_free(before)
        chosen[name] = before if keep and before is not None else free_port(set(chosen.values()))
    file.write_text(json.dumps(chosen))
    return chosen
