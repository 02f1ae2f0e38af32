"""Files that lie where configuration does, and are not read."""

from __future__ import annotations

import os
import stat

from ukmod.kmod.config import Source, config_files
from ukmod.kmod.lint.finding import Finding
from ukmod.kmod.lint.lines import read_lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ukmod.kmod.host import Files

__all__ = ["place_findings"]

_OLD_SUFFIX = ".alias"
_OLD = (".bak", ".old", ".orig", "~", ".rpmsave", ".rpmnew", ".rpmorig", ".save", ".swp")


def place_findings(files: Files, dirname: str, paths: Sequence[str]) -> Iterator[Finding]:
    """Yield the files below ``paths`` that modprobe passes over, with lines that would have mattered."""
    chosen = {os.path.basename(path): path for path in config_files(dirname, paths, files)}
    seen: set[str] = set()
    for directory in paths:
        try:
            real = files.real(directory)
            names = sorted(files.listdir(directory))
        except OSError:
            continue
        if real in seen:
            continue  # /lib is a link to /usr/lib
        seen.add(real)
        for name in names:
            path = f"{directory}/{name}"
            if chosen.get(name) not in {path, None} and _same(files, chosen[name], path):
                continue
            if chosen.get(name) != path:
                yield from _passed_over(files, path, chosen.get(name))
    for directory in paths:
        if directory.endswith("/etc/modprobe.d"):
            old = directory.removesuffix(".d") + ".conf"
            yield from _unread(
                files, old, "not-conf", "modprobe reads no such file", f"mv {old} {directory}/"
            )


def _same(files: Files, one: str, other: str) -> bool:
    try:
        return files.real(one) == files.real(other)
    except OSError:
        return False


def _passed_over(files: Files, path: str, hidden_by: str | None) -> Iterator[Finding]:
    name = os.path.basename(path)
    try:
        mode = files.stat(path).st_mode
    except OSError as error:
        if name.endswith(".conf"):
            text = f"it cannot be read: {error.strerror}; old versions of kmod let it hide files of its name"
            fix = "remove it, or make it lead to a file"
            lines = [] if hidden_by is None else read_lines(files, hidden_by)
            about = tuple([word for line in lines for word in line.names])
            yield Finding("unreadable", "error", Source(path), "", text, fix, about)
        return
    if stat.S_ISDIR(mode):
        if name.endswith(".d") or _has_conf(files, path):
            text = "directories inside of it are not read"
            fix = f"mv {path}/*.conf {os.path.dirname(path)}/"
            yield Finding("directory", "error", Source(path), "", text, fix)
    elif hidden_by is not None:
        text = f"it is not read: {hidden_by} has the same name and comes first"
        fix = f"give it another name, or put its lines into {hidden_by}"
        yield from _unread(files, path, "hidden", text, fix)
    elif name.startswith("."):
        yield from _unread(
            files, path, "hidden-name", "a name with a dot in front is not read", f"rename {path}"
        )
    elif name.endswith(_OLD_SUFFIX):
        text = "old versions of kmod read it, new ones do not: only names that end in .conf are read by all"
        yield from _unread(files, path, "old-suffix", text, f"mv {path} {path}.conf, or remove it")
    elif not name.endswith(".conf"):
        text = "only names that end in .conf are read"
        is_old = name.endswith(_OLD) or ".dpkg-" in name or ".ucf-" in name
        yield from _unread(files, path, "not-conf", text, f"mv {path} {path}.conf", is_old=is_old)


def _has_conf(files: Files, path: str) -> bool:
    try:
        return any(name.endswith(".conf") for name in files.listdir(path))
    except OSError:
        return False


def _unread(
    files: Files, path: str, kind: str, text: str, fix: str, *, is_old: bool = False
) -> Iterator[Finding]:
    """Yield a finding if a file has any line that modprobe would take."""
    lines = [line for line in read_lines(files, path) if line.entry is not None]
    if lines:
        about = tuple([name for line in lines for name in line.names])
        severity = "note" if is_old else "warning"
        yield Finding(kind, severity, Source(path), lines[0].words, text, fix, about)
