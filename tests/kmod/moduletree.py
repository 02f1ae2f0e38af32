"""A tree of small real modules in a directory, for tests of what looks into files."""

from __future__ import annotations

from pathlib import Path

from tests import elfwriter
from tests.elfwriter import SHF_ALLOC, STB_LOCAL, Section, Symbol

from ukmod.kmod.context import Context
from ukmod.kmod.tree import Tree

VERMAGIC = "4.4.4 SMP preempt mod_unload modversions "


def module(
    *fields: str, name: str = "", gpl: tuple[str, ...] = (), license_: str = "GPL", **parts: object
) -> bytes:
    """Return a module as elfwriter does, with a licence and a vermagic; ``gpl`` are EXPORT_SYMBOL_GPL()s."""
    given = {field.partition("=")[0] for field in fields}
    words = [*fields, f"license={license_}"]
    if "vermagic" not in given:
        words.append(f"vermagic={VERMAGIC}")
    if not gpl:
        return elfwriter.module(name, *words, **parts)  # type: ignore[arg-type]
    sections = [
        Section(".text", b"\xc3"),
        Section(".modinfo", elfwriter.modinfo(*words)),
        Section("__ksymtab_gpl", bytes(12 * len(gpl)), flags=SHF_ALLOC),
        Section("__ksymtab_strings", elfwriter.modinfo(*gpl)),
    ]
    symbols = [Symbol(symbol, ".text") for symbol in gpl]
    symbols += [Symbol(f"__ksymtab_{symbol}", "__ksymtab_gpl", bind=STB_LOCAL) for symbol in gpl]
    return elfwriter.elf(sections, symbols)


def write(root: Path, **modules: bytes) -> Path:
    """Write modules below ``root`` and return the directory of the tree."""
    directory = root / "lib/modules/4.4.4"
    (directory / "kernel").mkdir(parents=True, exist_ok=True)
    for name, data in modules.items():
        (directory / "kernel" / f"{name}.ko").write_bytes(data)
    return directory


def context(root: Path, config: str = "", **modules: bytes) -> Context:
    """Return a context for a tree of these modules and one file of configuration, ``/.../x.conf``."""
    directory = write(root, **modules)
    path = root / "x.conf"
    path.write_text(config)
    return Context.open(Tree.from_directory(directory, config_paths=(str(path),)))
