"""POSIX extended regular expressions, as regcomp(3) of the GNU C library takes them in the C locale.

depmod.d(5) matches kernel releases with them. They are translated for :mod:`re`, whose dialect differs: in
what a bracket holds, in where a repetition may stand, and in most of what begins with a backslash or ``(?``.
"""

from __future__ import annotations

from ukmod.errors import UsageError

__all__ = ["search", "translate"]

_CLASSES = {
    "alnum": "09AZaz",
    "alpha": "AZaz",
    "blank": "\t\t  ",
    "cntrl": "\0\x1f\x7f\x7f",
    "digit": "09",
    "graph": "!~",
    "lower": "az",
    "print": " ~",
    "punct": "!/:@[`{~",
    "space": "\t\r  ",
    "upper": "AZ",
    "xdigit": "09AFaf",
}
"""The first and last character of each range."""
_ASSERTIONS = {"b": r"\b", "B": r"\B", "<": r"\b(?=\w)", ">": r"\b(?<=\w)", "`": r"\A", "'": r"\Z"}
_SETS = {"w": r"\w", "W": r"\W", "s": r"\s", "S": r"\S"}
_ANCHORS = {"^": r"\A", "$": r"\Z"}
_REPEATS = "*+?{"
_MOST = 0x7FFF  # RE_DUP_MAX


def search(pattern: str, text: str) -> bool:
    """Tell whether the pattern is found in the text; UsageError if it is malformed."""
    import re

    try:
        return re.search(translate(_bytewise(pattern)), _bytewise(text), re.ASCII | re.DOTALL) is not None
    except (re.error, RecursionError, OverflowError) as error:
        raise UsageError(f"too much for a regular expression: {error}", subject=pattern) from None


def _bytewise(text: str) -> str:
    """Return text with a character for each byte, which is what the C locale knows."""
    return text.encode("utf-8", "surrogateescape").decode("latin-1")


def translate(pattern: str) -> str:
    """Return the same pattern in Python's dialect, for re.ASCII and re.DOTALL; UsageError if it is
    malformed.
    """
    return _Translation(pattern).result


class _Translation:
    """The pattern, and what has been translated of it: a list for each group that is open."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.at = 0
        self.open: list[tuple[int, list[str]]] = [(0, [])]
        """The group's number, and its parts so far."""
        self.groups = 0
        self.complete: set[int] = set()
        while self.at < len(pattern):
            self._piece()
        if len(self.open) > 1:
            raise self._error("Unmatched ( or \\(")
        self.result = "".join(self.open[0][1])

    def _error(self, message: str) -> UsageError:
        return UsageError(message, subject=self.pattern)

    def _piece(self) -> None:
        """Translate an atom and its repetitions, or what stands between atoms."""
        parts = self.open[-1][1]
        char = self.pattern[self.at]
        self.at += 1
        if char == "(":
            self.groups += 1
            self.open.append((self.groups, []))
        elif char == "|":
            parts.append("|")
        elif char in _REPEATS:
            raise self._error("Invalid preceding regular expression")
        elif char == ")" and len(self.open) > 1:
            number, inner = self.open.pop()
            self.complete.add(number)
            self.open[-1][1].append(self._repeated(f"({''.join(inner)})"))
        elif char in _ANCHORS:
            parts.append(self._unrepeated(_ANCHORS[char]))
        elif char == "[":
            parts.append(self._repeated(self._bracket()))
        elif char == "\\":
            parts.append(self._escape())
        else:
            parts.append(self._repeated("." if char == "." else _literal(ord(char))))

    def _escape(self) -> str:
        if self.at == len(self.pattern):
            raise self._error("Trailing backslash")
        char = self.pattern[self.at]
        self.at += 1
        if char in _ASSERTIONS:
            return self._unrepeated(_ASSERTIONS[char])
        if "1" <= char <= "9":
            if int(char) not in self.complete:
                raise self._error("Invalid back reference")
            return self._repeated(f"(?:\\{char})")
        return self._repeated(_SETS.get(char) or _literal(ord(char)))

    def _unrepeated(self, assertion: str) -> str:
        if self.pattern[self.at : self.at + 1] in tuple(_REPEATS):
            raise self._error("Invalid preceding regular expression")
        return assertion

    def _repeated(self, atom: str) -> str:
        """Return an atom with all repetitions that follow it."""
        while self.at < len(self.pattern) and self.pattern[self.at] in _REPEATS:
            char = self.pattern[self.at]
            self.at += 1
            atom = f"(?:{atom}{self._interval() if char == '{' else char})"
        return atom

    def _interval(self) -> str:
        """Return the rest of ``{least,most}``, either of which may be missing, or ``{times}``."""
        end = self.pattern.find("}", self.at)
        least, comma, most = self.pattern[self.at : max(end, self.at)].partition(",")
        if end < 0 or not (least or comma) or not all(_is_number(bound) for bound in (least, most) if bound):
            raise self._error("Invalid content of \\{\\}")
        low = int(least or 0)
        high = int(most) if most else _MOST if comma else low
        if low > high or high > _MOST:
            raise self._error("Invalid content of \\{\\}" if low > high else "Regular expression too big")
        self.at = end + 1
        return f"{{{low},{most if comma else low}}}"

    def _bracket(self) -> str:
        """Return a bracket expression as the set of its members."""
        negated = self.pattern.startswith("^", self.at)
        self.at += negated
        members: set[int] = set()
        first = True
        while first or not self.pattern.startswith("]", self.at):
            low = self._member(first=first)
            first = False
            if isinstance(low, set):
                members |= low
                if self._is_range():
                    raise self._error("Invalid range end")
                continue
            high: int | set[int] = low
            if self._is_range():
                self.at += 1
                high = self._member(first=True)
            if isinstance(high, set) or high < low:
                raise self._error("Invalid range end")
            members.update(range(low, high + 1))
        self.at += 1
        return f"[{'^' * negated}{''.join(map(_literal, sorted(members)))}]"

    def _is_range(self) -> bool:
        """Tell whether a ``-`` follows that is not the last in its bracket."""
        return self.pattern.startswith("-", self.at) and not self.pattern.startswith("-]", self.at)

    def _member(self, *, first: bool) -> int | set[int]:
        """Return the next character in a bracket, or the characters of a class.

        ``first`` says that a ``-`` stands for itself here: elsewhere it does only at the end.
        """
        pattern, at = self.pattern, self.at
        if at >= len(pattern):
            raise self._error("Unmatched [, [^, [:, [., or [=")
        if pattern[at] == "-" and not first and not pattern.startswith("-]", at):
            raise self._error("Invalid range end")
        kind = pattern[at + 1 : at + 2]
        if pattern[at] != "[" or kind not in (":", ".", "="):
            self.at += 1
            return ord(pattern[at])
        end = pattern.find(f"{kind}]", at + 2)
        if end < 0:
            raise self._error("Unmatched [, [^, [:, [., or [=")
        name = pattern[at + 2 : end]
        self.at = end + 2
        if kind == ":":
            if name not in _CLASSES:
                raise self._error("Invalid character class name")
            bounds = _CLASSES[name]
            pairs = zip(bounds[::2], bounds[1::2], strict=True)
            return {code for low, high in pairs for code in range(ord(low), ord(high) + 1)}
        if len(name) != 1:
            raise self._error("Invalid collation character")
        return {ord(name)} if kind == "=" else ord(name)


def _literal(code: int) -> str:
    return f"\\x{code:02x}"


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()
