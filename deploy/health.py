"""Check a component of Airflow by an address that reports its state: health.py URL [COMPONENT...]

Exits with 0 if the server answers without an error and calls every COMPONENT healthy. Otherwise prints the reason and
exits with 1. Only the standard library is imported, because the check runs every few seconds.
"""

from __future__ import annotations

import json
import sys
import urllib.request


def main(url: str, *components: str) -> int:
    """Ask `url` for the state of `components` and return the exit code."""
    try:
        with urllib.request.urlopen(url, timeout=8) as response:
            states = json.load(response) if components else {}
    except (OSError, ValueError) as e:
        print(f"{url}: {e}", file=sys.stderr)
        return 1
    wrong = [name for name in components if states.get(name, {}).get("status") != "healthy"]
    for name in wrong:
        print(f"{url}: {name} is not healthy: {states.get(name)}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
