"""Parses YAML that users write: values of `--set`, recipes, promotion policies, `documents.yaml` and trigger forms."""

from __future__ import annotations

from typing import Any

import yaml


class _Loader(yaml.SafeLoader):
    """Safe loader without aliases: ten lines of aliases can stand for billions of values."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(
                None, None, "aliases (*name) are not allowed; write the value again", mark
            )
        return super().compose_node(parent, index)


def parse_yaml(text: str) -> Any:
    """Return the value of a YAML text. Raises yaml.YAMLError for every text that is not valid, whatever its fault.

    PyYAML itself raises other errors for dates that do not exist and for text that is nested too deeply.
    """
    try:
        return yaml.load(text, _Loader)
    except (ValueError, OverflowError, TypeError, RecursionError) as e:
        raise yaml.YAMLError(f"{type(e).__name__}: {e}") from None
