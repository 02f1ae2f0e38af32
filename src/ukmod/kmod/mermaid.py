"""Text in Mermaid's drawings."""

from __future__ import annotations

import re


def mermaid_text(text: str) -> str:
    """Text in which Mermaid finds no syntax of its own."""
    return re.sub(r"[^\w .,/()'=+:-]", lambda match: f"#{ord(match[0])};", text)
