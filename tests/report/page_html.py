"""Read a rendered page as a browser does."""

from __future__ import annotations

import json
from html.parser import HTMLParser


def embedded(html: str) -> dict[str, object]:
    """Return the JSON block as a browser reads it: up to the first end tag."""
    block = html.split('<script type="application/json" id="data">')[1].split("</script>")[0]
    data: dict[str, object] = json.loads(block)
    return data


class Tags(HTMLParser):
    """Collects names and attributes of the tags that a browser would see, without the content of scripts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
