"""Renders a Helm chart like `helm template`, with Helm's own engine from the package helm-python-sdk.

    python render_chart.py CHART < VALUES      (VALUES: JSON, name -> values; prints name -> path -> rendered text)

Runs in an environment of its own, so that the project does not depend on the package (70 MB).
"""

import json
import sys

from helm_python import Chart  # type: ignore[import-not-found]

with Chart.load(sys.argv[1]) as chart:
    rendered = {}
    for name, values in json.load(sys.stdin).items():
        chart.validate_schema(values)
        rendered[name] = chart.render(values=values, name="airflow", namespace="insurance-rag")
    json.dump(rendered, sys.stdout)
