"""``ukmod depmod --strict`` and ``--overlay ROOT``: depmod for distributions.

Both are options of ``ukmod depmod`` alone: a link named depmod has exactly kmod's.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress

from ukmod.errors import NotFoundError, UkmodError, UsageError
from ukmod.kmod.depmod.analysis import analyse
from ukmod.kmod.depmod.config import CONFIG_DIRECTORIES, load_config
from ukmod.kmod.depmod.dependencies import FAKE_SYMBOLS, KERNEL, parse_symvers, parse_system_map
from ukmod.kmod.depmod.order import module_order
from ukmod.kmod.depmod.reader import read_all
from ukmod.kmod.depmod.scan import scan_tree
from ukmod.kmod.linux import LinuxHost
from ukmod.kmod.regular import read_regular
from ukmod.kmod.tools import depmod
from ukmod.kmod.tools.depmod_options import parse_options
from ukmod.kmod.tools.log import ToolLog

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ukmod.kmod.depmod.analysis import Analysis
    from ukmod.kmod.tools.depmod_options import DepmodOptions

__all__ = ["main"]

STRICT, OVERLAY = "--strict", "--overlay"


def main(arguments: Sequence[str]) -> int:
    """Run depmod, with its own arguments and ours; 1, and nothing is written, if ``--strict`` finds a fault.

    Raises UsageError for an option without its value, NotFoundError if there is no such tree.
    """
    strict, overlays, rest = _split(arguments)
    host = LinuxHost()
    argv = ["depmod", *rest]
    options = parse_options(argv, host, ToolLog(host, "depmod"))
    if options is None:
        return 0
    if os.path.isfile(options.root):
        raise UsageError("is an archive: --strict and --overlay are for directories", subject=options.root)
    release = options.words[0] if options.words else host.release()
    below = f"/{options.module_directory}/{release}"
    with tempfile.TemporaryDirectory(prefix="ukmod-depmod-") as merged:
        if overlays:
            roots = [options.root, *(os.path.abspath(root) for root in overlays)]
            _merge([f"{root}{below}" for root in roots], f"{merged}{below}")
            out = options.root if options.out_root is None else options.out_root
            argv += ["-b", merged, "-o", out or "/"]
        if strict and (
            faults := list(_faults(options, f"{merged if overlays else options.root}{below}", release))
        ):
            for text in faults:
                host.stderr.write(f"depmod: ERROR: {text}\n")
            return 1
        return depmod.main(argv, host)


def _split(arguments: Sequence[str]) -> tuple[bool, list[str], list[str]]:
    """Take our options out of depmod's arguments: --strict, the overlays, and the others."""
    strict, overlays, rest = False, [], []
    words = iter(arguments)
    for word in words:
        if word == STRICT:
            strict = True
        elif word.partition("=")[0] == OVERLAY:
            root = word.partition("=")[2] or next(words, "")
            if not root:
                raise UsageError(f"{OVERLAY}: name a root")
            overlays.append(root)
        else:
            rest.append(word)
    return strict, overlays, rest


def _merge(trees: Sequence[str], to: str) -> None:
    """Make a directory of links to the files of several trees, as an overlay of them shows it."""
    if not os.path.isdir(trees[0]):
        raise NotFoundError("there is no such directory of modules", subject=trees[0])
    for tree in trees:
        for where, below, names in os.walk(tree):
            below[:] = [name for name in below if not (where == tree and name in ("build", "source"))]
            inside = to + where.removeprefix(tree)
            os.makedirs(inside, exist_ok=True)
            for name in names:
                link = f"{inside}/{name}"
                if os.path.lexists(link):
                    os.unlink(link)
                os.symlink(os.path.realpath(f"{where}/{name}"), link)  # noqa: PTH211 - os throughout


def _faults(options: DepmodOptions, dirname: str, release: str) -> Iterator[str]:
    """Yield what a distribution must not ship: modules that cannot be read, unknown symbols, cycles."""
    try:
        config = load_config(release, options.config or CONFIG_DIRECTORIES)
        modules = module_order(scan_tree(dirname, config), dirname)
    except OSError as error:
        raise NotFoundError(error.strerror or str(error), subject=dirname) from error
    facts = read_all(modules, fork=True)
    for module, fact in zip(modules, facts, strict=True):
        if fact.failure:
            yield f"{module.shown}: cannot be read: {os.strerror(fact.failure)}"
    kernel = _kernel(options, release)
    analysis = analyse(modules, facts, kernel or {}, options.prefix)
    if kernel is None:
        text = "there is no image: name its Module.symvers with -E, or its System.map with -F"
        yield f"the kernel's symbols are not known: {text}"
    else:
        yield from _unknown(analysis, kernel, options.prefix)
    for cycle in analysis.cycles:
        yield f"modules need each other: {_cycle(analysis, cycle)}"


def _kernel(options: DepmodOptions, release: str) -> Mapping[str, int] | None:
    """Return the kernel's symbols: of -E or -F, else of the usual places; None if there are none.

    These are Module.symvers, System.map unless it says that it is elsewhere, as Debian's does, and the image.
    """
    symvers = (
        [options.symvers]
        if options.symvers
        else [f"{options.root}/{options.module_directory}/{release}/build/Module.symvers"]
    )
    maps = [options.system_map] if options.system_map else [f"{options.root}/boot/System.map-{release}"]
    candidates = [(path, parse_symvers) for path in symvers if options.symvers or not options.system_map]
    candidates += [(path, parse_system_map) for path in maps if not options.symvers]
    for path, parse in candidates:
        try:
            text = read_regular(path).decode("utf-8", "surrogateescape")
        except OSError as error:
            if path in (options.symvers, options.system_map):
                raise NotFoundError(error.strerror or str(error), subject=path) from error
            continue
        found = parse(text, path, options.prefix)
        if path in (options.symvers, options.system_map) or found.keys() - FAKE_SYMBOLS:
            return found
    return _of_image(options.root, release)


def _of_image(root: str, release: str) -> Mapping[str, int] | None:
    """Return the symbols of the kernel image below a root; None if there is none that can be read."""
    from ukmod.machine.image.find import PLACES
    from ukmod.machine.image.image import KernelImage

    for place in PLACES:
        path = f"{root}/{place.format(release=release)}"
        if os.path.isfile(path):
            with suppress(UkmodError):  # another architecture's, or a packing that needs an extra
                return dict.fromkeys(KernelImage(path).exports, 0) | dict.fromkeys(FAKE_SYMBOLS, 0)
    return None


def _unknown(analysis: Analysis, kernel: Mapping[str, int], prefix: str) -> Iterator[str]:
    for module, fact in zip(analysis.modules, analysis.facts, strict=True):
        weak = set(fact.weak)
        for name in fact.needs:
            plain = name.removeprefix(prefix).removeprefix(".")
            if name not in weak and plain not in analysis.owners and plain not in kernel:
                yield f"{module.shown}: nothing exports {name}"


def _cycle(analysis: Analysis, cycle: Sequence[int]) -> str:
    """Spell a cycle with the symbols that make it: ``a -> b (f, g) -> a (h)``."""
    parts = [analysis.modules[cycle[0]].name]
    for user, used in zip(cycle, [*cycle[1:], *([cycle[0]] if cycle[0] != cycle[-1] else [])], strict=False):
        symbols = [name for name in analysis.facts[user].needs if analysis.owners.get(name, KERNEL) == used]
        shown = ", ".join(symbols[:3]) + (f" and {len(symbols) - 3} more" if len(symbols) > 3 else "")
        parts.append(f"{analysis.modules[used].name} ({shown})")
    return " -> ".join(parts)
