r"""Text of others, for a terminal or a page: what it would obey is shown instead, as ``\x1b``.

Modules choose what they log and how they are called: that must not move the reader's cursor, or pass for a
line of ours.
"""

from __future__ import annotations

__all__ = ["escape", "one_line"]

_KEPT = "\n\t"
_ESCAPES = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in _KEPT}
_DIRECTIONS = (0x061C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A))
"""Characters that a terminal may obey: they write text backwards, or end a line."""
_ESCAPES |= {code: f"\\u{code:04x}" for code in _DIRECTIONS}
_NO_NEWLINES = _ESCAPES | {ord("\n"): "\\x0a"}


def escape(text: str) -> str:
    r"""Show control characters as ``\x1b``, as dmesg(1) does, directions as ``\u202e``. Newlines stay."""
    return text.translate(_ESCAPES)


def one_line(text: str) -> str:
    """Text as ``escape`` gives it, its newlines included: a name cannot pass for a line of ours."""
    return text.translate(_NO_NEWLINES)
