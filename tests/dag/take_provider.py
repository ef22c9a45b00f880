"""Has Airflow take the package as provider and plugin, by its entry points, and prints what it took as JSON.

Runs in a process of its own.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from topicledger.airflow.provider import get_provider_info

LIGHT = "airflow" not in sys.modules
get_provider_info()
LIGHT = LIGHT and "airflow" not in sys.modules

from airflow.providers_manager import ProvidersManager  # noqa: E402

from airflow import plugins_manager  # noqa: E402 - the description was read without it


def main() -> dict[str, Any]:
    """Ask Airflow's own registers."""
    providers: Any = ProvidersManager()  # type: ignore[no-untyped-call] # Airflow's
    widgets = {name: widget.field for name, widget in providers.connection_form_widgets.items()}
    hook = providers.hooks["duckdb"]
    plugins, errors = plugins_manager._get_plugins()
    (plugin,) = (plugin for plugin in plugins if plugin.name == "topicledger")
    return {
        "light": LIGHT,
        "provider": providers.providers["topicledger"].version,
        "hook": None if hook is None else [hook.hook_name, hook.connection_id_attribute_name],
        "form": providers.field_behaviours["duckdb"],
        "fields": [name for name in widgets if name.startswith("extra__duckdb__")],
        "errors": errors,
        "links": [link.name for link in plugin.operator_extra_links],
        "pages": [app["url_prefix"] for app in plugin.fastapi_apps],
    }


if __name__ == "__main__":
    print("\n" + json.dumps(main()))  # noqa: T201 - the answer
