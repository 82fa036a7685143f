from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import pytest

from insurance_rag.core.config_base import Config
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.registry import REGISTRIES, Choice, Registry, registry


@pytest.fixture
def colours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry[int]:
    package = tmp_path / "paint"
    package.mkdir()
    (package / "__init__.py").write_text(
        "from insurance_rag.core.registry import Registry\nC = Registry('colour', 'paint')\n"
    )
    (package / "red.py").write_text("from paint import C\nC.add('red', 1)\n")
    (package / "teal.py").write_text("from paint import C\nC.add('teal', 2)\n")
    for name in ("paint", "paint.red", "paint.teal"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(REGISTRIES, "colour", "paint:C")
    return registry("colour")


def test_every_module_of_the_package_is_discovered(colours: Registry[int]) -> None:
    assert (colours.names, colours["teal"], "red" in colours, len(colours)) == (("red", "teal"), 2, True, 2)


def test_an_unknown_name_is_an_error_with_the_available_ones(colours: Registry[int]) -> None:
    with pytest.raises(InvalidInputError, match="unknown colour 'reed'; did you mean 'red'\\? available: red, teal"):
        colours["reed"]


def test_a_duplicate_name_is_an_error(colours: Registry[int]) -> None:
    assert "red" in colours
    with pytest.raises(ValueError, match="duplicate colour 'red'"):
        colours.add("red", 3)


def test_a_configuration_offers_the_names_and_rejects_others(colours: Registry[int]) -> None:
    class Painting(Config):
        colour: Annotated[str, Choice("colour")] = "red"

    assert Painting.model_json_schema()["properties"]["colour"]["enum"] == ["red", "teal"]
    assert Painting.parse({"colour": "teal"}).colour == "teal"
    with pytest.raises(InvalidInputError, match="configuration: colour: unknown colour 'green'"):
        Painting.parse({"colour": "green"})
