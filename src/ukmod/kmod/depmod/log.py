"""How depmod's steps report: the caller says where to."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    DepmodLog = Callable[[int, str], object]
    """``log(priority, text)``; the priorities are syslog(3)'s."""

__all__ = ["silent"]


def silent(_priority: int, _text: str) -> None:
    """Drop a message: the log of callers that only want values."""
