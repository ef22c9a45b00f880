"""Puts the two DAG files of this version, and on request the engine itself, into a `dags` folder."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from topicledger import __version__
from topicledger.errors import SettingsError

DAG_FILES = ("user_etl_dag.py", "kafka_utils.py")

IGNORE_ENTRY = "topicledger/"
"""Means the vendored engine both as a glob (Airflow 3) and as a regular expression (Airflow 2)."""

_PACKAGE = Path(__file__).parents[1]
_NOT_VENDORED = frozenset({"dags", "__pycache__"})


@dataclass(frozen=True, slots=True)
class Scaffold:
    """What was done, as paths.

    Args:
        written: Files that were created or replaced.
        unchanged: Files that were there already, as this version writes them.
        removed: Modules of another version of the vendored engine that this version doesn't have.
    """

    written: tuple[Path, ...]
    unchanged: tuple[Path, ...]
    removed: tuple[Path, ...]


def write_dag_files(dags_dir: Path, *, vendor: bool = False, force: bool = False) -> Scaffold:
    """Write the DAG files, each as a whole; a repeat writes nothing.

    Nothing at all is written when a file is there with another content, unless `force` says to replace it.

    Args:
        dags_dir: Airflow's `dags` folder; it has to exist.
        vendor: Also write the engine beside them and make Airflow ignore it when it looks for DAGs.
        force: Replace files that differ, and remove modules that only another version of the engine has.

    Raises:
        SettingsError: The folder isn't there or can't be written to, or a file differs.
    """
    if not dags_dir.is_dir():
        raise SettingsError(
            f"{dags_dir} is not a folder: give Airflow's dags folder "
            "(`airflow config get-value core dags_folder` prints it)",
            code="dags-folder-missing",
        )
    wanted = {dags_dir / name: _dag_file(name) for name in DAG_FILES}
    if vendor:
        wanted |= _engine(dags_dir)
    try:
        stale = _stale(dags_dir / "topicledger", wanted) if vendor else []
        different = [path for path, content in wanted.items() if path.exists() and path.read_bytes() != content]
        if (different or stale) and not force:
            raise _refused(dags_dir, different + stale)
        if vendor:
            _add_ignore(dags_dir, wanted)
        return _write(wanted, stale)
    except OSError as error:
        raise SettingsError(
            f"{error.filename or dags_dir} can't be written: {error.strerror or error}. "
            "Run this as the user that owns the dags folder",
            code="dags-folder-not-writable",
        ) from error


def install_line(*, vendor: bool) -> str:
    """The pip command for what the DAG imports, for the environment that Airflow runs in."""
    engine = (
        "confluent-kafka jinja2 msgspec pyarrow tenacity duckdb" if vendor else f"'topicledger[duckdb]=={__version__}'"
    )
    return f"pip install apache-airflow-providers-apache-kafka apache-airflow-providers-standard {engine}"


def _dag_file(name: str) -> bytes:
    # The wheel carries the files inside the package; a checkout has them beside src/.
    for folder in (_PACKAGE / "dags", _PACKAGE.parents[1] / "dags"):
        if (folder / name).is_file():
            return (folder / name).read_bytes()
    raise SettingsError(
        f"this installation of topicledger {__version__} lacks {name}: install the wheel again, "
        "or copy the file from the project's dags folder",
        code="installation-incomplete",
    )


def _engine(dags_dir: Path) -> dict[Path, bytes]:
    return {
        dags_dir / "topicledger" / path.relative_to(_PACKAGE): path.read_bytes()
        for path in sorted(_PACKAGE.rglob("*"))
        if path.is_file() and not _NOT_VENDORED & set(path.relative_to(_PACKAGE).parts)
    }


def _stale(vendored: Path, wanted: dict[Path, bytes]) -> list[Path]:
    return sorted(path for path in vendored.rglob("*.py") if path not in wanted)


def _refused(dags_dir: Path, different: list[Path]) -> SettingsError:
    names = ", ".join(str(path.relative_to(dags_dir)) for path in different[:5])
    more = f" and {len(different) - 5} more" if len(different) > 5 else ""
    return SettingsError(
        f"{dags_dir} has {names}{more} with another content than topicledger {__version__} would write: "
        "changed by hand, or of another version. Nothing was written. Keep your changes elsewhere, "
        "then use --force",
        code="dag-file-changed",
    )


def _add_ignore(dags_dir: Path, wanted: dict[Path, bytes]) -> None:
    path = dags_dir / ".airflowignore"
    present = path.read_bytes() if path.exists() else b""
    if IGNORE_ENTRY.encode() not in (line.strip() for line in present.splitlines()):
        present += b"\n" if present and not present.endswith(b"\n") else b""
        present += f"{IGNORE_ENTRY}\n".encode()
    wanted[path] = present


def _write(wanted: dict[Path, bytes], stale: list[Path]) -> Scaffold:
    written, unchanged = [], []
    for path, content in wanted.items():
        if path.exists() and path.read_bytes() == content:
            unchanged.append(path)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(path, content)
        written.append(path)
    for path in stale:
        path.unlink()
    return Scaffold(tuple(written), tuple(unchanged), tuple(stale))


def _replace(path: Path, content: bytes) -> None:
    # Not ending in .py until it is whole: the DAG processor may look at any moment.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    try:
        with os.fdopen(os.open(temporary, flags, 0o644), "wb") as file:
            file.write(content)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
