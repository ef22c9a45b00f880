"""Whether this user may write a file or into a folder of this machine: asked, so that nothing is tried."""

from __future__ import annotations

import os
from pathlib import Path


def refusal(path: Path) -> str | None:
    """Say what keeps this user from writing there, with the next step; None when nothing does.

    A path that doesn't exist yet is one to be created: what counts is the nearest folder above it that exists.

    Args:
        path: An absolute path, of a file or of a folder.
    """
    nearest = next(p for p in (path, *path.parents) if p.exists())
    if nearest != path and not nearest.is_dir():
        return f"{nearest} is no folder, so {path} can't be created: correct the path"
    wanted = os.R_OK | os.W_OK | (os.X_OK if nearest.is_dir() else 0)
    if os.access(nearest, wanted):
        return None
    return f"this user may not write {'into ' if nearest.is_dir() else ''}{nearest}: grant it, or set another path"
