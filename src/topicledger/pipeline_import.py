"""The declaration that a DAG file names: imported, or a sentence that says why not."""

from __future__ import annotations

import importlib
import traceback
from types import ModuleType

from topicledger.errors import SettingsError, TopicLedgerError
from topicledger.pipeline import Pipeline


def import_pipeline(path: object) -> Pipeline:
    """Import a declaration. Whatever is wrong with it, or with its module, is said at once.

    Args:
        path: `module:NAME`, as a DAG file or the option `--pipeline` has it.

    Raises:
        SettingsError: The path isn't one, its module can't be imported or declares what can't work, or what it names
            isn't there or is no Pipeline.
    """
    module_name, _, name = path.partition(":") if isinstance(path, str) else ("", "", "")
    if not all(part.isidentifier() for part in (*module_name.split("."), name)):
        raise SettingsError(f"pipeline {path!r:.200}: use module:NAME, such as 'payments:PAYMENTS'")
    module = _module(module_name, f"pipeline {path!r}")
    if not hasattr(module, name):
        there = ", ".join(key for key, value in vars(module).items() if isinstance(value, Pipeline)) or "none"
        raise SettingsError(
            f"pipeline {path!r}: {module.__file__} has no {name}; the pipelines in it: {there}. Correct the name"
        )
    found = getattr(module, name)
    if not isinstance(found, Pipeline):
        raise SettingsError(f"pipeline {path!r}: that is a {type(found).__name__}, no Pipeline. Correct the name")
    return found


def _module(name: str, said: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except TopicLedgerError:
        raise
    except ModuleNotFoundError as error:
        missing = error.name or name
        if not f"{name}.".startswith(f"{missing}."):
            raise SettingsError(
                f"{said}: its module imports {missing}, which isn't installed here: install it"
            ) from error
        raise SettingsError(
            f"{said}: there is no module {missing} here: put it beside the DAG file, or install its package"
        ) from error
    except (Exception, SystemExit) as error:
        raise SettingsError(
            f"{said}: importing its module failed with {type(error).__name__}: {' '.join(str(error).split())[:300]}"
            f"{_place(error)}. Correct the module"
        ) from error


def _place(error: BaseException) -> str:
    """Where in somebody's file it was raised; a SyntaxError's own text has that."""
    frames = [f for f in traceback.extract_tb(error.__traceback__)[1:] if not f.filename.startswith("<")]
    return f" at {frames[-1].filename}:{frames[-1].lineno}" if len(frames) > 1 else ""
