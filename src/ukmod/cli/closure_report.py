"""The output of ``ukmod closure``: JSON, mtree(5), chains of reasons, and messages about what is missing."""

from __future__ import annotations

import stat
from collections import Counter

from ukmod.cli.terminal import near

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ukmod.kmod.closures import Closure, ClosureModule, Missing
    from ukmod.kmod.payload import ImageFile
    from ukmod.kmod.tree import Tree

    ManifestRow = tuple[ImageFile, int, str]
    """An item, its size in bytes, and the SHA-256 of a regular file."""

__all__ = ["as_object", "as_object_of_items", "chain_lines", "missing_lines", "mtree_lines"]

_ONE_BY_ONE = 3
"""As many of a kind are named each in a line of its own; more are summed up."""
_TYPES = {stat.S_IFDIR: "dir", stat.S_IFLNK: "link", stat.S_IFREG: "file"}
_PHRASES = {
    "requested": "requested as {0}",
    "pattern": "matches {0}",
    "loaded": "loaded on the machine",
    "device": "for the device {0}",
    "dependency": "a dependency of {0}",
    "softdep": "a soft dependency of {0}",
    "weakdep": "a weak dependency of {0}",
}


def as_object(found: Closure) -> dict[str, object]:
    """Return a closure as docs/reference/json.md has it."""
    return {
        "modules": [
            {"module": one.module, "path": one.path, "reason": one.reason, "of": one.of}
            for one in found.modules
        ],
        "firmware": [{"path": one.path, "module": one.module, "name": one.field} for one in found.firmware],
        "links": [{"path": one.path, "target": one.target, "end": one.end} for one in found.links],
        "missing": [
            {"kind": one.kind, "name": one.name, "needed_by": one.needed_by, "why": one.why}
            for one in found.missing
        ],
    }


def as_object_of_items(rows: Iterable[ManifestRow]) -> list[dict[str, object]]:
    """Return the files of an image."""
    return [
        {
            "path": item.path,
            "type": _TYPES[stat.S_IFMT(item.mode)],
            "mode": stat.S_IMODE(item.mode),
            "size": size,
            "sha256": digest or None,
            "target": item.content.decode("utf-8", "surrogateescape") if stat.S_ISLNK(item.mode) else None,
        }
        for item, size, digest in rows
    ]


def mtree_lines(rows: Iterable[ManifestRow], mtime: int) -> Iterator[str]:
    """Yield the lines of a manifest as mtree(5) describes it."""
    yield "#mtree"
    yield f"/set uid=0 gid=0 time={mtime}.0"
    for item, size, digest in rows:
        kind = _TYPES[stat.S_IFMT(item.mode)]
        words = [f"./{_vis(item.path)}", f"type={kind}", f"mode=0{stat.S_IMODE(item.mode):o}"]
        if kind == "link":
            words.append(f"link={_vis(item.content.decode('utf-8', 'surrogateescape'))}")
        elif kind == "file":
            words += [f"size={size}", f"sha256digest={digest}"]
        yield " ".join(words)


def _vis(path: str) -> str:
    """Show blanks and what is not ASCII in octal, as vis(3) does."""
    data = path.encode("utf-8", "surrogateescape")
    return "".join(chr(byte) if 0x21 <= byte < 0x7F and byte != 0x5C else f"\\{byte:03o}" for byte in data)


def chain_lines(chain: Sequence[ClosureModule]) -> list[str]:
    """Return a line for each module between one and the request, with why it is there."""
    above = [*chain[1:], None]
    return [
        f"{member.module}: {_PHRASES[member.reason].format(user.module if user else member.of)}"
        for member, user in zip(chain, above, strict=True)
    ]


def missing_lines(missing: Sequence[Missing], tree: Tree, *, on_missing: str, quiet: bool) -> list[str]:
    """Return the messages about what is missing: errors, and warnings unless ``quiet``."""
    groups: dict[tuple[str, str], list[Missing]] = {}
    for one in missing:
        groups.setdefault((one.kind, one.why), []).append(one)
    lines = []
    for ones in groups.values():
        is_error = ones[0].is_fault and on_missing == "error"
        if quiet and not is_error:
            continue
        head = f"ukmod closure: {'error' if is_error else 'warning'}: "
        if len(ones) <= _ONE_BY_ONE:
            lines += [f"{head}{one}{_hint(one, tree)}" for one in ones]
        else:
            lines.append(head + _sum(ones))
    return lines


def _hint(one: Missing, tree: Tree) -> str:
    is_name = one.kind == "module" and not one.why
    return near(one.name.replace("-", "_"), tree.module_names()) if is_name else ""


_PLURALS = {
    "module": "modules",
    "file": "files",
    "softdep": "soft dependencies",
    "weakdep": "weak dependencies",
    "firmware": "firmware files",
    "loaded": "loaded modules",
    "device": "devices",
}


def _sum(ones: Sequence[Missing]) -> str:
    """One line for many: how many there are, for which modules, or which ones."""
    state = ones[0].state if ones[0].why else " are not in the tree"
    if ones[0].kind == "firmware":
        state = " are missing"
    if ones[0].kind == "device":
        state = " have no module"
    users = Counter(one.needed_by for one in ones if one.needed_by)
    names = [f"{user} ({count})" for user, count in users.most_common(_ONE_BY_ONE)]
    names = names or [one.name for one in ones[:_ONE_BY_ONE]]
    more = (len(users) or len(ones)) - len(names)
    rest = f" and {more} more" if more > 0 else ""
    of = "for " if users else ""
    return f"{len(ones)} {_PLURALS[ones[0].kind]}{state}: {of}{', '.join(names)}{rest}; --json lists them"
