"""Ten thousand aliases looked up in one process: our library, and libkmod through ctypes."""

from __future__ import annotations

import ctypes
import os
import statistics
import time
from collections.abc import Callable

from benchmarks import MissingError, Row, table
from benchmarks.programs import tree
from ukmod.kmod import Context, Index, Tree

_LOOKUPS = 10_000
_RUNS = 5


def main() -> list[Row]:
    """Time both on what devices say of themselves: the patterns, with something in place of each wildcard."""
    with tree() as modules:
        directory = modules.root / "lib/modules" / modules.release
        index = Index.open(str(directory / "modules.alias.bin"))
        words = [key.replace("*", "0") for key, _module in index.items()][:_LOOKUPS]
        context = Context.open(Tree.open(modules.root, modules.release))
        sides = (context.lookup, _libkmod(os.fsencode(directory)))
        times: tuple[list[float], list[float]] = ([], [])
        for _ in range(_RUNS):
            for side, took in zip(sides, times, strict=True):
                start = time.process_time()
                for word in words:
                    side(word)
                took.append((time.process_time() - start) / len(words) * 1e6)
    ours, theirs = map(statistics.median, times)
    return [
        Row(
            f"{len(words)} aliases looked up",
            ours,
            theirs,
            "us each",
            "CPU time; kmod_module_new_from_lookup()",
        )
    ]


def _libkmod(directory: bytes) -> Callable[[str], object]:
    """Return libkmod's lookup in a module directory, whose call by ctypes takes half a microsecond."""
    try:
        library = ctypes.CDLL("libkmod.so.2")
    except OSError as error:
        raise MissingError(f"no libkmod: apt-get install libkmod2 ({error})") from error
    library.kmod_new.restype = ctypes.c_void_p
    library.kmod_new.argtypes = [ctypes.c_char_p, ctypes.c_void_p]
    library.kmod_load_resources.argtypes = [ctypes.c_void_p]
    lookup, unref = library.kmod_module_new_from_lookup, library.kmod_module_unref_list
    lookup.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.POINTER(ctypes.c_void_p)]
    unref.argtypes = [ctypes.c_void_p]
    context = library.kmod_new(directory, None)
    library.kmod_load_resources(context)

    def look_up(word: str) -> None:
        found = ctypes.c_void_p(None)
        lookup(context, word.encode(), ctypes.byref(found))
        unref(found)

    return look_up


if __name__ == "__main__":
    print(table(main()))
