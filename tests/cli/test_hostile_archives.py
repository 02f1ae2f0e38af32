"""Archives that lie, named as roots: each command ends soon, with lines, and shows no file of the host."""

from __future__ import annotations

import gzip
import io
import lzma
import stat
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cli.hostile import assert_sound, in_child, said_by
from tests.elfwriter import module
from tests.kmod.depmod.trees import RELEASE
from tests.kmod.squashfswriter import squashfs
from tests.kmod.test_archives import DIRECTORY, FILE, LINK, ar, cpio, header, tar, uki

from ukmod.kmod.archives.files import MOST_ENTRIES
from ukmod.kmod.cpio import ArchiveEntry

CANARY = "options m canary=4711"
MODULES = f"lib/modules/{RELEASE}"
MODULE = ArchiveEntry(f"{MODULES}/kernel/m.ko", FILE, module("m", "alias=a*", exports=["m"]))
AT = ["-d", "x", "-S", RELEASE]
COMMANDS = (
    ["explain", *AT, "m"],
    ["closure", *AT, "m"],
    ["graph", *AT, "m"],
    ["audit", *AT],
    ["lint", *AT],
    ["modprobe", *AT, "-D", "m"],
    ["modinfo", "-b", "x", "-k", RELEASE, "m"],
)
PATHS = (MODULE.path, f"{MODULES}/modules.dep.bin", "etc/modprobe.d/a.conf")
FIFO, DEVICE = stat.S_IFIFO | 0o666, stat.S_IFCHR | 0o666


def _link(name: str, target: object) -> ArchiveEntry:
    return ArchiveEntry(name, LINK, str(target).encode())


def _tar_header(name: str, size: bytes, kind: bytes = tarfile.REGTYPE) -> bytes:
    """A member's header with the bytes of its size as they are given."""
    block = bytearray(tarfile.TarInfo(name).tobuf(tarfile.GNU_FORMAT))
    block[124:136], block[156:157] = size.ljust(12, b"\0"), kind
    block[148:156] = b"%06o\0 " % (256 + sum(block[:148]) + sum(block[156:512]))
    return bytes(block)


def _pax(**headers: str) -> bytes:
    return tarfile.TarInfo.create_pax_global_header(headers)


def _special(kind: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name in PATHS:
            info = tarfile.TarInfo(name)
            info.type, info.devmajor, info.devminor = kind, 1, 5
            archive.addfile(info)
    return out.getvalue()


def _hard_link(target: str) -> bytes:
    out = io.BytesIO(tar(MODULE))
    with tarfile.open(fileobj=out, mode="a") as archive:
        info = tarfile.TarInfo("etc/modprobe.d/a.conf")
        info.type, info.linkname = tarfile.LNKTYPE, target
        archive.addfile(info)
    return out.getvalue()


def _huge_modules() -> bytes:
    """A squashfs with 1,000 modules that claim 1 GiB each."""
    modules = [ArchiveEntry(f"{MODULES}/kernel/m{n}.ko", FILE, b"y" * 4096) for n in range(1000)]
    return squashfs(modules).replace(struct.pack("<QQ", 4096, 0), struct.pack("<QQ", 1 << 30, 0))


def _overlapping() -> bytes:
    """A unified kernel image, all of whose sections are the same packed data."""
    image = bytearray(uki(*[ArchiveEntry(f"d/{n}", FILE, bytes(1000)) for n in range(1000)]))
    table = 0x40 + 24
    for at in range(table, table + 4 * 40, 40):
        image[at : at + 8] = b".initrd\0"
        image[at + 8 : at + 24] = image[table + 128 : table + 144]
    return bytes(image)


NEGATIVE = b"\xff" * 10 + b"\xfe\x00"
"""-512, in the binary form of a tar header's numbers."""
DEEP = "d/" * 2000

ARCHIVES: dict[str, Callable[[Path], bytes]] = {
    "a link out of the root, absolute": lambda host: cpio(MODULE, _link("etc/modprobe.d", host)),
    "a link out of the root, by ..": lambda host: cpio(MODULE, _link("etc", f"{'../' * 40}{host}")),
    "a file of modprobe.d that is a link": lambda host: tar(
        MODULE, _link("etc/modprobe.d/a.conf", host / "secret.conf")
    ),
    "a module that is a link": lambda host: cpio(_link(MODULE.path, host / "secret.conf")),
    "a tree that is a link": lambda host: tar(_link("lib", host)),
    "a path with ..": lambda host: cpio(MODULE, ArchiveEntry(f"..{host}/made", FILE, b"x")),
    "an absolute path": lambda host: cpio(MODULE, ArchiveEntry(f"{host}/made", FILE, b"x")),
    "a hard link out of the root": lambda host: _hard_link(f"{host}/secret.conf"),
    "links in a circle": lambda _: cpio(_link("lib", "usr"), _link("usr", "lib"), _link("etc", "etc")),
    "a link of a megabyte": lambda _: cpio(MODULE, _link("etc", "a/" * (1 << 19))),
    "FIFOs in cpio": lambda _: cpio(*[ArchiveEntry(path, FIFO) for path in PATHS]),
    "devices in cpio": lambda _: cpio(*[ArchiveEntry(path, DEVICE) for path in PATHS]),
    "FIFOs in tar": lambda _: _special(tarfile.FIFOTYPE),
    "devices in tar": lambda _: _special(tarfile.CHRTYPE),
    "directories in the place of files": lambda _: cpio(
        ArchiveEntry(MODULE.path, DIRECTORY), ArchiveEntry(f"{MODULES}/modules.dep.bin", DIRECTORY)
    ),
    "a negative size in tar": lambda _: tar(MODULE)[:1024] + _tar_header("x", NEGATIVE) * 3 + bytes(1024),
    "a negative size of a kind that nobody knows": lambda _: tar(MODULE)[:512]
    + _tar_header("x", NEGATIVE, b"Z") * 3 + bytes(1024),
    "a negative size in pax": lambda _: _pax(size="-1536") + tar(MODULE),
    "a long name of a negative size": lambda _: _tar_header("x", NEGATIVE, b"L") * 3 + bytes(1024),
    "a sparse file of an exabyte": lambda _: _tar_header("x", b"7" * 11, b"S") + bytes(4096),
    "a size of 4 GiB in cpio": lambda _: cpio(MODULE) + header(b"x", 0xFFFFFFFF),
    "a size of 9,999,999,999 in ar": lambda _: ar(("x", b"2.0\n")).replace(b"4         `", b"9999999999`"),
    "a million members of ar": lambda _: ar(*[("x", b"")] * 100_000),
    "sections over each other": lambda _: _overlapping(),
    "entries without end in cpio": lambda _: gzip.compress(
        header(b"x", 0).ljust(112, b"\0") * (MOST_ENTRIES + 10), 1
    ),
    "entries without end in tar": lambda _: gzip.compress(
        _tar_header("x", b"0", b"Z") * (MOST_ENTRIES // 8) + tar(MODULE), 1
    ),
    "directories without end": lambda _: gzip.compress(
        cpio(*[ArchiveEntry(f"{n}/{DEEP}", FILE) for n in range(3000)]), 1
    ),
    "files in a deep directory": lambda _: gzip.compress(
        cpio(*[ArchiveEntry(f"{DEEP}{n}", FILE) for n in range(5000)]), 1
    ),
    "links through links": lambda _: cpio(
        *[_link(f"l{n}", "d/" * 2000) for n in range(40)],
        *[ArchiveEntry("/".join(f"l{m}" for m in range(n)) + "/x", FILE) for n in range(1, 40)],
    ),
    "lz4 blocks of nothing": lambda _: b"\x02\x21\x4c\x18" * 1_000_000,
    "lz4 blocks of a byte": lambda _: b"\x02\x21\x4c\x18" + struct.pack("<IH", 2, 0x4110) * 200_000,
    "modules of a squashfs that claim to be huge": lambda _: _huge_modules(),
    "a truncated package": lambda _: lzma.compress(tar(MODULE))[:-30],
    **{
        f"{name} cut off at {part}/8": lambda _, data=data, part=part: data[: len(data) * part // 8]
        for name, data in (
            ("cpio", cpio(MODULE)), ("tar", tar(MODULE)), ("uki", uki(MODULE)),
            ("squashfs", squashfs([MODULE])),
        )
        for part in range(1, 8)
    },
}  # fmt: skip
"""Archives by what is wrong with them, made of the path of a directory of the host."""


@pytest.mark.parametrize("name", ARCHIVES)
def test_a_command_ends_and_shows_nothing_of_the_host(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    host = tmp_path / "host"
    host.mkdir()
    (host / "secret.conf").write_text(CANARY)
    (tmp_path / "x").write_bytes(ARCHIVES[name](host))
    large = any(word in name for word in ("without end", "deep", "through"))
    commands = COMMANDS[:1] if large else COMMANDS
    found = in_child(lambda: {words[0]: said_by(words) for words in commands})
    for lines in found.values():
        assert_sound(lines)
        assert CANARY not in "\n".join(lines)
        assert not [line for line in lines if line.startswith(str(host))]
    assert sorted(path.name for path in host.iterdir()) == ["secret.conf"]
