"""A line, or a file, that does not do what it says."""

from __future__ import annotations

from ukmod.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ukmod.kmod.config import Source

__all__ = ["Finding"]


@record
class Finding:
    """Something that is wrong, where it is, and its fix.

    ``severity`` is error (it has no effect, or another than it says), warning (most likely a mistake) or note
    (it is of no use on this system). ``words`` is the line as written, ``about`` are the modules that it is,
    or may have been meant to be, about.
    """

    kind: str
    severity: str
    source: Source
    words: str
    text: str
    fix: str
    about: tuple[str, ...] = ()

    @property
    def lines(self) -> tuple[str, ...]:
        """The finding as lines of text."""
        words = [f"    {self.words}"] if self.words else []
        return f"{self.source}: {self.severity}: {self.text}", *words, f"  fix: {self.fix}"

    def __str__(self) -> str:
        return "\n".join(self.lines)
