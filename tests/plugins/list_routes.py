"""Print the routes of the apps of all plugins as JSON: [[url prefix, method, path], ...]. Needs an Airflow environment.

Everything that is not a plain route, such as a mounted app, is printed as it is, so that the test cannot miss it.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

from airflow.plugins_manager import AirflowPlugin
from fastapi.routing import APIRoute

PLUGINS = Path(sys.argv[1])


def plugins() -> list[Any]:
    """Return an instance of every plugin class in the folder."""
    sys.path.insert(0, str(PLUGINS))
    found = []
    for path in sorted(PLUGINS.rglob("*.py")):
        name = ".".join(path.relative_to(PLUGINS).with_suffix("").parts)
        module = importlib.import_module(name.removesuffix(".__init__"))
        found += [
            value()
            for value in vars(module).values()
            if isinstance(value, type) and issubclass(value, AirflowPlugin) and value is not AirflowPlugin
        ]
    return found


def routes() -> list[list[str]]:
    """Return all routes."""
    listed = []
    for plugin in plugins():
        assert not (plugin.flask_blueprints or plugin.appbuilder_views), "test the routes of these, too"
        for each in plugin.fastapi_apps:
            for route in each["app"].routes:
                methods = sorted(route.methods) if isinstance(route, APIRoute) else [type(route).__name__]
                listed += [[each["url_prefix"], method, route.path] for method in methods]
    return listed


if __name__ == "__main__":
    print(json.dumps(routes()))
