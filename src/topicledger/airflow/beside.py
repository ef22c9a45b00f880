"""The module beside a DAG file, wherever Airflow loads that file from."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from pathlib import Path
from types import ModuleType


def sibling(file: str, name: str) -> Callable[[], ModuleType]:
    """Find the module `name` beside a DAG file; give what imports it, once, when a task wants it.

    Not as `import` would: an installed module of that name, or one at the bundle's root, would come first; and Airflow
    adds neither a folder below the dags folder to the path, nor a zip once it is imported.

    Args:
        file: The DAG file's `__file__`: in the dags folder, below it, in a zip or in a DAG bundle.
        name: The module's name.

    Raises:
        ImportError: There is none beside it.
    """
    here = Path(file).absolute().parent
    # Known by a name of its own: two folders may each have a module of this one.
    found = PathFinder.find_spec(f"beside {here}.{name}", [str(here)])
    if found is None or found.origin is None or (loader := found.loader) is None:
        raise ImportError(
            f"{Path(file).name} needs {name}.py beside it, but there is no {here / name}.py: put the "
            "file there; `topicledger init` writes both files into the folder that it is given [sibling-missing]"
        )

    @functools.cache
    def imported() -> ModuleType:
        module = module_from_spec(found)
        sys.modules[found.name] = module
        loader.exec_module(module)
        return module

    return imported
