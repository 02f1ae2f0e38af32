"""Checks of HTML pages that are made for people."""

from __future__ import annotations

import re
from html.parser import HTMLParser

VOID = frozenset(("meta", "input"))
ELEMENTS = """
html head meta title style body main script h1 h2 p code pre ul li details summary span div
form label input select option output table caption thead tbody tr th td svg g rect path text
"""
"""What a page of ours is made of."""


class Page(HTMLParser):
    """Reads a page. All that is opened is closed; no attribute leads out of it or holds a script."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.counts: dict[str, int] = {}
        self.policy = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in ELEMENTS.split()
        self.counts[tag] = self.counts.get(tag, 0) + 1
        names = {name for name, _ in attrs}
        assert not names & {"src", "href", "action", "style"}
        assert not any(name.startswith("on") for name in names)
        values = dict(attrs)
        if values.get("http-equiv") == "Content-Security-Policy":
            self.policy = values["content"] or ""
        if tag not in VOID and not (self.get_starttag_text() or "").endswith("/>"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("rect", "path"):
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.text.append(data)


def whole(text: str) -> Page:
    """Return a page, which is whole, fits a phone, and asks the network for nothing."""
    found = Page()
    found.feed(text)
    found.close()
    assert found.open == []
    assert found.counts["h1"] == found.counts["main"] == found.counts["title"] == found.counts["script"] == 1
    assert '<html lang="en">' in text
    assert 'content="width=device-width, initial-scale=1"' in text
    assert "prefers-color-scheme:dark" in text
    assert not re.search(r"https?:|@import|url\(", text)
    assert found.policy.startswith("default-src 'none';")
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", text)
    return found
