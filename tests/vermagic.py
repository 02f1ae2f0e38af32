"""Modules of other kernels, and such as lie about theirs; and what Debian's kernel makes of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from errno import ENOEXEC

from tests.real import debian

from ukmod.kmod.elf import Elf
from ukmod.kmod.modfile import ModuleFile
from ukmod.kmod.signature import parse_signature

OWN = "own"


@dataclass(frozen=True, slots=True)
class Attempt:
    """A module is loaded into a kernel that has just come up."""

    name: str
    errno: int
    log: tuple[str, ...]
    of: str = OWN
    """Whose module it is: that kernel's own, or of which other."""
    change: Callable[[bytes], bytes] = bytes
    force: bool = False
    """By modprobe -f, which passes both flags of finit_module(2)."""

    def module(self) -> bytes:
        """The module; skips the test where its kernel's package is not there."""
        package = debian.require() if self.of == OWN else debian.require_other(self.of)
        return self.change(module(package))


def module(package: debian.Debian) -> bytes:
    """crc7.ko without its signature: it needs one symbol, which CRC and all is everywhere the same."""
    (path,) = (package.modules / "kernel" / "lib").glob("crc7.ko*")
    with ModuleFile(str(path)) as file:
        data = file.contents()
    signature = parse_signature(data)
    return data if signature is None else data[: signature.module_size]


def changed(data: bytes, old: bytes, new: bytes) -> bytes:
    """The first ``old`` replaced."""
    assert len(old) == len(new)
    at = data.index(old)
    return data[:at] + new + data[at + len(old) :]


def other_layout(data: bytes) -> bytes:
    """The CRC of module_layout is another."""
    crc = Elf(data).versions()["module_layout"].to_bytes(8, "little")
    return changed(data, crc + b"module_layout\0", bytes([crc[0] ^ 1]) + crc[1:] + b"module_layout\0")


def no_layout(data: bytes) -> bytes:
    """There is no CRC of module_layout."""
    return changed(data, b"module_layout\0", b"nodule_layout\0")


def no_vermagic(data: bytes) -> bytes:
    """There is no vermagic."""
    return changed(data, b"\0vermagic=", b"\0xermagic=")


def other_vermagic(data: bytes) -> bytes:
    """It is for a kernel without SMP, say."""
    return changed(data, b" SMP preempt ", b" TMP preempt ")


def other_release(data: bytes) -> bytes:
    """It is for a kernel of another release that is otherwise the same."""
    return changed(data, b"\0vermagic=6.", b"\0vermagic=7.")


UNSIGNED = "<5>crc7: module verification failed: signature and/or required key missing - tainting kernel"
DISAGREES = "<4>crc7: disagrees about version of symbol module_layout"
TAINTED = "<4>Disabling lock debugging due to kernel taint"
BAD = "<4>crc7: bad vermagic: kernel tainted."
FORCED = ("<4>crc7: module_layout: kernel tainted.", TAINTED, UNSIGNED)
SHOULD_BE = (
    f"<3>crc7: version magic '{debian.RELEASE} TMP preempt mod_unload modversions '"
    f" should be '{debian.RELEASE} SMP preempt mod_unload modversions '"
)

ATTEMPTS = (
    Attempt("own", 0, (UNSIGNED,)),
    Attempt("other_release", 0, (UNSIGNED,), change=other_release),
    Attempt("other_layout", ENOEXEC, (DISAGREES,), change=other_layout),
    Attempt("no_layout", ENOEXEC, ("<4>crc7: no symbol version for module_layout",), change=no_layout),
    Attempt(
        "no_vermagic", 0, ("<4>crc7: bad vermagic: kernel tainted.", TAINTED, UNSIGNED), change=no_vermagic
    ),
    Attempt("other_vermagic", ENOEXEC, (SHOULD_BE,), change=other_vermagic),
    Attempt("both", ENOEXEC, (DISAGREES,), change=lambda data: other_vermagic(other_layout(data))),
    Attempt("of_cloud", ENOEXEC, (DISAGREES,), of="cloud"),
    Attempt("of_backport", ENOEXEC, (DISAGREES,), of="backport"),
    Attempt("own_by_force", 0, FORCED, force=True),
    Attempt("other_layout_by_force", 0, FORCED, change=other_layout, force=True),
    Attempt("no_layout_by_force", 0, FORCED, change=no_layout, force=True),
    Attempt("no_vermagic_by_force", 0, FORCED, change=no_vermagic, force=True),
    Attempt("other_vermagic_by_force", 0, FORCED, change=other_vermagic, force=True),
    Attempt("of_cloud_by_force", 0, FORCED, of="cloud", force=True),
)
