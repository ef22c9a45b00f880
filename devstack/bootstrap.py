"""Makes the virtual environment: `python3 devstack/bootstrap.py`, with nothing installed yet.

It does nothing, within milliseconds, when the environment is that of the locks.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
VENV_PYTHON = VENV / "bin" / "python"
LOCKS = (ROOT / "requirements" / "dev.txt", ROOT / "requirements" / "uv.txt")
STAMP = VENV / "made-from"


def main() -> None:
    """Leaves an environment with exactly the locked packages and this project, editable."""
    key = _key()
    if STAMP.exists() and STAMP.read_text() == key and VENV_PYTHON.exists():
        return
    print("Setting up .venv from the locks ...", flush=True)
    STAMP.unlink(missing_ok=True)
    uv = _uv()
    _run([uv, "pip", "sync", "-q", "--require-hashes", "--python", str(VENV_PYTHON), *map(str, LOCKS)])
    editable = ["--no-deps", "--no-build-isolation", "--editable", str(ROOT)]
    # uv leaves a lock file in the folder for temporary files when it builds.
    _run([uv, "pip", "install", "-q", "--python", str(VENV_PYTHON), *editable], TMPDIR=str(VENV))
    STAMP.write_text(key)


def _key() -> str:
    digest = hashlib.sha256(f"{sys.version} {VENV}".encode())
    for path in (*LOCKS, ROOT / "pyproject.toml"):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _uv() -> str:
    """Gives a uv, with the empty environment made: the one on PATH, else the locked one, by pip."""
    on_path = shutil.which("uv")
    if on_path:
        _run([on_path, "venv", "-q", "--allow-existing", "--python", sys.executable, str(VENV)])
        return on_path
    inside = VENV / "bin" / "uv"
    if not inside.exists() or not VENV_PYTHON.exists():
        _run([sys.executable, "-m", "venv", "--clear", str(VENV)])
        pip = [str(VENV_PYTHON), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        _run([*pip, "--require-hashes", "-r", str(LOCKS[1])])
    return str(inside)


def _run(command: list[str], **variables: str) -> None:
    environment = {**os.environ, "UV_PYTHON_DOWNLOADS": "never", **variables}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        output = (done.stdout + done.stderr).strip()
        sys.exit(f"{_last_lines(output)}\nThe environment .venv can't be made.\n  Next: {_next_step(output)}")


def _last_lines(output: str) -> str:
    lines = output.splitlines()
    return "\n".join([line for line in lines if line.lower().startswith("error")] or lines[-15:])


def _next_step(output: str) -> str:
    said = output.lower()
    if "ensurepip" in said:
        return "install the venv module of this Python (Debian: apt-get install python3-venv), or install uv."
    if any(sign in said for sign in ("permission denied", "read-only file system", "os error 13", "errno 13")):
        return f"make {ROOT} writable for this user, or clone the project where it is."
    if "no space left" in said:
        return "free about 2 GB there (`df -h .` shows what is left)."
    if any(sign in said for sign in ("dns", "connect", "fetch", "resolve", "timed out", "no matching dist")):
        return "the first use needs the network (a package index; proxies and mirrors set for pip or uv apply)."
    return "the message above says why; then try again."


if __name__ == "__main__":
    try:
        main()
    except OSError as error:
        sys.exit(f"The environment {VENV} can't be made: {error}.\n  Next: {_next_step(str(error))}")
    except KeyboardInterrupt:
        sys.exit(130)
