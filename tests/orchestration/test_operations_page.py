"""The page about operations says what the code and the installed Airflow do."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

from opentelemetry.sdk import environment_variables

from insurance_rag.orchestration.operation_metrics import METRICS

PAGE = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()


def test_the_page_lists_every_metric() -> None:
    table = [
        re.split(r" *\| *", line)[1:-1] for line in PAGE.splitlines() if re.match(r"\| `\w+` \| (counter|gauge)", line)
    ]
    assert table == [
        [f"`{m.name}`", m.kind, ", ".join(f"`{label}`" for label in m.labels), m.description] for m in METRICS
    ]


def test_every_variable_on_the_page_is_a_setting_of_airflow_or_opentelemetry() -> None:
    from airflow.configuration import conf

    sections = conf.configuration_description
    names = re.findall(r"\bAIRFLOW__([A-Z]+)__([A-Z_]+)\b", PAGE)
    assert len(names) >= 10
    unknown = [(s, o) for s, o in names if o.lower() not in sections.get(s.lower(), {}).get("options", {})]
    assert not unknown
    known = {value for value in vars(environment_variables).values() if isinstance(value, str)}
    assert {name for name in re.findall(r"\bOTEL_\w+", PAGE)} <= known


def test_the_page_names_only_assets_facets_and_classes_that_exist() -> None:
    assets = importlib.import_module("insurance_rag.orchestration.assets")
    facets = importlib.import_module("insurance_rag.orchestration.openlineage_facets")
    listed = set(re.findall(r"^\| `(\w+)` \| `ARTIFACT_ROOT/published/", PAGE, re.MULTILINE))
    assert listed == {a.name for a in vars(assets).values() if type(a).__name__ == "Asset"}
    schema = (Path(str(facets.__file__)).with_name("openlineage_schema.json")).read_text()
    assert set(re.findall(r"insuranceRag_[a-z]+", PAGE)) == set(re.findall(r"insuranceRag_[a-z]+", schema))
