"""The declaration that a DAG file names: imported, or a sentence that says why not."""

from __future__ import annotations

import importlib
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from topicledger.errors import SettingsError, TopicLedgerError
from topicledger.pipeline import Pipeline


def import_pipeline(path: object) -> Pipeline:
    """Import a declaration. Whatever is wrong with it, or with its module, is said at once.

    Args:
        path: `module:NAME`.

    Raises:
        SettingsError: As `import_named`.
    """
    found: Pipeline = import_named(path, (Pipeline,))
    return found


def import_named(path: object, kinds: tuple[type, ...]) -> Any:
    """Import what `module:NAME` names, which has to be of one of the kinds.

    Raises:
        SettingsError: The path isn't one, its module can't be imported or declares what can't work, or what it names
            isn't there or is of another kind.
    """
    module_name, _, name = path.partition(":") if isinstance(path, str) else ("", "", "")
    if not all(part.isidentifier() for part in (*module_name.split("."), name)):
        raise SettingsError(
            f"pipeline {path!r:.200}: use module:NAME, such as 'payments:PAYMENTS'", code="pipeline-path-malformed"
        )
    try:
        with failed(f"pipeline {path!r}"):
            module = importlib.import_module(module_name)
    except SettingsError as error:
        missing = getattr(error.__cause__, "name", None) if isinstance(error.__cause__, ModuleNotFoundError) else None
        if missing is not None and f"{module_name}.".startswith(f"{missing}."):
            raise SettingsError(
                f"pipeline {path!r}: there is no module {missing} here: put it beside the DAG file, or install its "
                "package",
                code="module-missing",
            ) from error.__cause__
        raise
    if not hasattr(module, name):
        there = ", ".join(key for key, value in vars(module).items() if isinstance(value, kinds)) or "none"
        raise SettingsError(
            f"pipeline {path!r}: {module.__file__} has no {name}; the pipelines in it: {there}. Correct the name",
            code="pipeline-not-in-module",
        )
    found = getattr(module, name)
    if not isinstance(found, kinds):
        raise SettingsError(
            f"pipeline {path!r}: that is a {type(found).__name__}, no Pipeline. Correct the name", code="not-a-pipeline"
        )
    return found


@contextmanager
def failed(said: str) -> Iterator[None]:
    """Run somebody's module in the block; whatever it raises becomes one sentence.

    Args:
        said: What is run, at the sentence's beginning.

    Raises:
        SettingsError: It raised something.
    """
    try:
        yield
    except TopicLedgerError:
        raise
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"{said}: it imports {error.name}, which isn't installed here: install it", code="import-missing"
        ) from error
    except (Exception, SystemExit) as error:
        raise SettingsError(
            f"{said}: running it failed with {type(error).__name__}: {' '.join(str(error).split())[:300]}"
            f"{_place(error)}. Correct it",
            code="module-failed",
        ) from error


def _place(error: BaseException) -> str:
    """Where in somebody's file it was raised; a SyntaxError's own text has that."""
    frames = [f for f in traceback.extract_tb(error.__traceback__)[1:] if not f.filename.startswith("<")]
    return f" at {frames[-1].filename}:{frames[-1].lineno}" if len(frames) > 1 else ""
