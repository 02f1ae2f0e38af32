"""Kernel releases: taking them apart, ordering them, choosing one by a word such as "6.12" or "6.12-rt"."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["NEWEST", "chosen", "fits", "is_word", "order"]

NEWEST = "newest"
"""The word for the newest kernel of any version."""
_RELEASE = re.compile(
    r"(?P<version>\d+(?:\.\d+)*(?:[+~][^-]*)?(?:-rc\d+)?(?:-\d+(?:\.deb\d+)?(?:\.\d+)*)?)"
    r"(?:[-.](?P<flavour>.*))?",
    re.ASCII,
)
_LONGEST = 255
"""The characters of a release: it is the name of a file, and of utsname's 64 in the kernel itself."""
_PLAIN = ("", "amd64", "generic")
"""The flavours that a distribution's users have unless they choose another: of none, Debian's, Ubuntu's."""


def _parts(release: str) -> tuple[str, str]:
    """The version and the flavour: ("6.12.118+deb13", "rt-amd64")."""
    found = _RELEASE.fullmatch(release)
    return (found["version"], found["flavour"] or "") if found is not None else (release, "")


def is_word(text: str) -> bool:
    """True for what can choose a release: a version, perhaps with a flavour, or "newest"."""
    word = text.removeprefix(NEWEST)
    return (
        len(text) <= _LONGEST
        and "/" not in text
        and (word == "" or (word != text and word[0] == "-") or "." in text)
        and (text.startswith(NEWEST) or _RELEASE.fullmatch(text) is not None)
    )


def fits(word: str, release: str) -> bool:
    """True if a word means a release, among others: "6.12-rt" means 6.12.118+deb13-rt-amd64.

    The version is the release's, or its beginning up to a number's end. The flavour's words are all in the
    release's flavour.
    """
    if word == release:
        return True
    version, flavour = _parts(release)
    if word.startswith(NEWEST):
        wanted, kind = "", word.removeprefix(NEWEST).removeprefix("-")
    else:
        wanted, kind = _parts(word)
    rest = version.removeprefix(wanted)
    begins = version.startswith(wanted) and not (wanted and rest[:1].isdigit())
    return begins and set(filter(None, kind.split("-"))) <= set(flavour.split("-"))


def chosen(word: str, known: Iterable[str]) -> str | None:
    """The release that a word chooses: itself, or of those that fit the newest of the plainest flavour."""
    found = [release for release in known if fits(word, release)]
    return word if word in found else max(found, key=_preference, default=None)


def _preference(release: str) -> tuple[bool, int, list[tuple[int, int, str]]]:
    flavour = _parts(release)[1]
    return flavour in _PLAIN, -len(flavour.split("-")), order(release)


def order(release: str) -> list[tuple[int, int, str]]:
    """A key that sorts releases by age: numbers by value, and 7.3~rc1 and 7.3-rc1 before 7.3."""
    key = []
    for part in re.findall(r"[0-9]+|[~-]rc|.", release):
        early = part in ("~rc", "-rc", "~")
        key.append((3, int(part), "") if "0" <= part[0] <= "9" else (0, 0, "") if early else (2, 0, part))
    return [*key, (1, 0, "")]
