"""Archives as roots: whatever works on a directory works on an initramfs, a package or a kernel image."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import stat
import struct
import subprocess
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.kmod.moduletree import module
from tests.kmod.squashfswriter import BLOCK, squashfs
from tests.real import debian

from ukmod import cli
from ukmod.errors import FormatError, LimitError, UkmodError
from ukmod.kmod import Context, Tree, closure, plan
from ukmod.kmod.archives import files as archive_files
from ukmod.kmod.archives import open_archive
from ukmod.kmod.archives.containers import entries_of
from ukmod.kmod.archives.files import ArchiveFiles
from ukmod.kmod.cpio import ArchiveEntry, newc

RELEASE = "6.1.0"
BASE = module(name="base", exports=["base_fn"])
USER = module("alias=fs-user", "firmware=u.bin", "firmware=x*.bin", name="user", needs=["base_fn"])
FILE, DIRECTORY, LINK = stat.S_IFREG | 0o644, stat.S_IFDIR | 0o755, stat.S_IFLNK | 0o777
CONTENT = [
    ArchiveEntry("lib", LINK, b"usr/lib"),
    ArchiveEntry(f"usr/lib/modules/{RELEASE}/kernel/base.ko", FILE, BASE),
    ArchiveEntry(
        f"usr/lib/modules/{RELEASE}/kernel/user.ko.xz", FILE, lzma.compress(USER, check=lzma.CHECK_CRC32)
    ),
    ArchiveEntry("usr/lib/firmware/u.bin", LINK, b"/usr/lib/firmware/x1.bin"),
    ArchiveEntry("usr/lib/firmware/x1.bin", FILE, b"firmware"),
    ArchiveEntry("etc/modprobe.d/a.conf", FILE, b"options user x=1\n"),
]


def cpio(*files: ArchiveEntry) -> bytes:
    return b"".join(newc(files))


def tar(*files: ArchiveEntry) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for file in files:
            info = tarfile.TarInfo(f"./{file.path}")
            if stat.S_ISLNK(file.mode):
                info.type, info.linkname = tarfile.SYMTYPE, bytes(file.content).decode()
            else:
                info.size = len(file.content)
            archive.addfile(info, io.BytesIO(bytes(file.content)) if info.size else None)
    return out.getvalue()


def ar(*members: tuple[str, bytes]) -> bytes:
    parts = [b"!<arch>\n"]
    for name, data in members:
        parts.append(f"{name:16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(data):<10}`\n".encode() + data)
        parts.append(b"\n" * (len(data) & 1))
    return b"".join(parts)


def deb(*files: ArchiveEntry) -> bytes:
    return ar(
        ("debian-binary", b"2.0\n"), ("control.tar.xz", b"x"), ("data.tar.xz", lzma.compress(tar(*files)))
    )


def rpm(*files: ArchiveEntry) -> bytes:
    def header(size: int) -> bytes:
        return b"\x8e\xad\xe8\x01" + bytes(4) + struct.pack(">II", 1, size) + bytes(16 + size)

    signature = header(5)
    lead = b"\xed\xab\xee\xdb" + bytes(92)
    return lead + signature + bytes(-len(signature) % 8) + header(3) + gzip.compress(cpio(*files))


def uki(*files: ArchiveEntry) -> bytes:
    sections = {
        ".linux": b"kernel image",
        ".cmdline": b"quiet module_blacklist=base\0",
        ".uname": RELEASE.encode(),
        ".initrd": gzip.compress(cpio(*files)),
    }
    head = b"MZ" + bytes(0x3A) + (0x40).to_bytes(4, "little")
    table, data, at = b"", b"", 0x400
    for name, content in sections.items():
        table += (
            name.encode().ljust(8, b"\0") + struct.pack("<4I", len(content), 0, len(content), at) + bytes(16)
        )
        data += content
        at += len(content)
    pe = b"PE\0\0" + struct.pack("<HH12xHH", 0x8664, len(sections), 0, 0) + table
    return (head + pe).ljust(0x400, b"\0") + data


def lz4(data: bytes) -> bytes:
    """A legacy frame with a block of literals alone."""
    block = literals(data)
    return b"\x02\x21\x4c\x18" + struct.pack("<I", len(block)) + block


def literals(data: bytes) -> bytes:
    """A block of lz4 of literals alone."""
    rest = len(data) - 15
    if rest < 0:
        return bytes([len(data) << 4]) + data
    return b"\xf0" + b"\xff" * (rest // 255) + bytes([rest % 255]) + data


KINDS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": gzip.compress,
    "xz": lambda data: lzma.compress(data, check=lzma.CHECK_CRC32),
    "bzip2": bz2.compress,
    "lzma": lambda data: lzma.compress(data, lzma.FORMAT_ALONE),
    "lz4": lz4,
}
MICROCODE = cpio(ArchiveEntry("kernel/x86/microcode/AuthenticAMD.bin", FILE, b"microcode"))
ARCHIVES: dict[str, bytes] = {
    **{name: pack(cpio(*CONTENT)) for name, pack in KINDS.items()},
    **{
        f"microcode, then {name}": MICROCODE + bytes(512) + pack(cpio(*CONTENT))
        for name, pack in KINDS.items()
    },
    "two packed parts": gzip.compress(cpio(*CONTENT[:2])) + bytes(7) + lzma.compress(cpio(*CONTENT[2:])),
    "lz4 and another": lz4(cpio(*CONTENT[:2])) + bytes(4) + gzip.compress(cpio(*CONTENT[2:])),
    "tar": tar(*CONTENT),
    "tar.xz": lzma.compress(tar(*CONTENT)),
    "deb": deb(*CONTENT),
    "rpm": rpm(*CONTENT),
    "uki": uki(*CONTENT),
    "squashfs": squashfs(CONTENT),
    "squashfs gzip": squashfs(CONTENT, zlib.compress),
    "squashfs xz": squashfs(CONTENT, lambda data: lzma.compress(data, check=lzma.CHECK_CRC32), 4),
    "squashfs lz4": squashfs(CONTENT, literals, 5),
}


@pytest.fixture(params=ARCHIVES)
def archive(tmp_path: Path, request: pytest.FixtureRequest) -> str:
    path = tmp_path / "archive"
    path.write_bytes(ARCHIVES[request.param])
    return str(path)


def test_an_archive_is_a_root(archive: str) -> None:
    tree = Tree.open(archive)
    assert tree.dirname == f"{archive}/lib/modules/{RELEASE}"
    context = Context.open(tree)
    steps = str(plan(context, "fs-user")).split()
    kernel = f"{tree.dirname}/kernel"
    assert steps == ["insmod", f"{kernel}/base.ko", "insmod", f"{kernel}/user.ko.xz", "x=1"]
    found = closure(context, ["user"], firmware_directories=[f"{archive}/lib/firmware"])
    assert found.missing == ()
    assert found.files[2:] == (f"{archive}/lib/firmware/u.bin", f"{archive}/lib/firmware/x1.bin")


def test_every_command_takes_it(archive: str, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    tree = ["-d", archive, "-S", RELEASE]
    assert cli.main(["ukmod", "explain", *tree, "user"]) in (0, 1)
    assert "user" in capfd.readouterr().out
    assert cli.main(["ukmod", "lint", *tree]) in (0, 1)
    assert (
        cli.main(["ukmod", "closure", *tree, "user", "--format", "cpio", "-o", f"{tmp_path}/out.cpio"]) == 0
    )
    assert "modules.dep" in open_archive(f"{tmp_path}/out.cpio").listdir(
        f"{tmp_path}/out.cpio/lib/modules/{RELEASE}"
    )
    assert cli.main(["ukmod", "audit", *tree, "user"]) in (0, 1)
    modules = f"{archive}/usr/lib/modules/{RELEASE}/kernel"
    assert cli.main(["ukmod", "fits", *tree, "/dev/null"]) == 3
    assert Tree.open(archive).open_module(f"{modules}/user.ko.xz").elf().sections
    capfd.readouterr()


def test_modprobe_and_modinfo_read_an_archive_with_indexes(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    first = tmp_path / "first"
    first.write_bytes(cpio(*CONTENT[1:]))
    path = str(tmp_path / "second")
    assert cli.main(["ukmod", "closure", "-d", str(first), "user", "--format", "cpio", "-o", path]) == 0
    capfd.readouterr()
    tree = ["-d", path, "-S", RELEASE]
    data = Path(path).read_bytes()
    Path(path).write_bytes(cpio(ArchiveEntry("lib", LINK, b"usr/lib")) + data)
    assert cli.main(["ukmod", "modprobe", *tree, "-D", "user"]) == 0
    out = capfd.readouterr().out
    assert out.split()[:2] == ["insmod", f"{path}/lib/modules/{RELEASE}/kernel/base.ko"]
    assert cli.main(["ukmod", "modinfo", "-b", path, "-k", RELEASE, "-F", "firmware", "user"]) == 0
    assert capfd.readouterr().out == "u.bin\nx*.bin\n"


def test_modinfo_reads_a_package_without_indexes(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.deb"
    path.write_bytes(ARCHIVES["deb"])
    assert cli.main(["ukmod", "modinfo", "-b", str(path), "-k", RELEASE, "-F", "license", "user"]) == 0
    assert capfd.readouterr().out == "GPL\n"


def test_the_command_line_of_a_unified_image_counts(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "linux.efi"
    path.write_bytes(uki(*CONTENT))
    assert cli.main(["ukmod", "explain", "-d", str(path), "base"]) == 1
    assert f"module_blacklist= ({path})" in capfd.readouterr().out


def test_links_lead_nowhere_outside(tmp_path: Path) -> None:
    path = tmp_path / "archive"
    links = [
        ArchiveEntry("up", LINK, b"../../../../../../etc"),
        ArchiveEntry("absolute", LINK, b"/etc"),
        ArchiveEntry("loop", LINK, b"loop"),
        ArchiveEntry("up/inside", FILE, b"put in etc"),
        ArchiveEntry("../outside", FILE, b"nowhere"),
        ArchiveEntry("null", LINK, b"/dev/null"),
    ]
    path.write_bytes(cpio(*links))
    files = open_archive(str(path))
    assert files.read(f"{path}/etc/inside") == b"put in etc"
    assert files.listdir(f"{path}/up") == files.listdir(f"{path}/absolute") == ["inside"]
    assert sorted(files.listdir(str(path))) == ["absolute", "etc", "loop", "null", "up"]
    assert files.read(f"{path}/null") == b""
    for name in ("loop", "etc/passwd", "../outside"):
        with pytest.raises(OSError, match=r".*"):
            files.read(f"{path}/{name}")
    with pytest.raises(FileNotFoundError):
        files.read("/etc/passwd")


def test_a_hard_link_has_the_content_of_the_last(tmp_path: Path) -> None:
    first, last = (
        bytearray(cpio(ArchiveEntry(name, FILE, text))) for name, text in (("a", b""), ("b", b"text"))
    )
    for archive in (first, last):
        archive[6 + 4 * 8 : 6 + 5 * 8] = b"00000002"  # links
        archive[6:14] = b"00000007"
    path = tmp_path / "archive"
    path.write_bytes(bytes(first[: bytes(first).index(b"070701", 6)] + last))
    files = open_archive(str(path))
    assert files.read(f"{path}/a") == files.read(f"{path}/b") == b"text"


def header(name: bytes, size: int, length: int | None = None) -> bytes:
    fields = (1, FILE, 0, 0, 1, 0, size, 0, 0, 0, 0, len(name) + 1 if length is None else length, 0)
    return b"070701" + b"".join(b"%08X" % field for field in fields) + name + b"\0"


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"hello, world", "neither a cpio archive"),
        (b"\x89LZO\0\r\n\x1a\n" + bytes(90), "packed with lzo.*lzop -d"),
        (header(b"a", 0xFFFFFFFF), "is cut off .at offset 0x0"),
        (header(b"a", 0, 0xFFFFFFFF), "a name of 4294967295 bytes"),
        (cpio(*CONTENT)[:-600], "(no header|cut off)"),
        (MICROCODE + b"\x1f\x8b" + bytes(20), "at offset 0x200"),
        (header(b"a", 0).replace(b"0000", b"00zz", 1), "header is damaged"),
        (gzip.compress(cpio(*CONTENT))[:-20], "cut off"),
        (ar(("debian-binary", b"2.0\n")), "without data.tar"),
        (b"!<arch>\n" + b"x" * 70, "no header of an ar archive"),
        (rpm()[:110], "(RPM package|no header)"),
        (uki(*CONTENT)[:0x420], "cut off"),
        (b"MZ" + bytes(100), "neither an initramfs nor a unified kernel image"),
        (b"hsqs" + bytes(96), "is a squashfs 0.0: mount it"),
        (b"sqsh" + bytes(96), "is a squashfs of big-endian machines: mount it"),
        (b"hsqs" + bytes(8), "superblock is cut off"),
        (squashfs(CONTENT)[:-500], "damaged squashfs.*offset 0x"),
        (squashfs(CONTENT, lambda data: zlib.compress(data)[:-3]), "damaged squashfs.*cut off"),
        (squashfs(CONTENT, zlib.compress, 3), "packed with lzo: mount it"),
        (squashfs(CONTENT, zlib.compress, 4), "not packed with xz"),
        (tar(*CONTENT)[:700], "(cut off|damaged)"),
    ],
)
def test_a_damaged_archive_is_an_error_with_file_and_offset(tmp_path: Path, data: bytes, text: str) -> None:
    path = tmp_path / "archive"
    path.write_bytes(data)
    with pytest.raises(FormatError, match=text) as caught:
        open_archive(str(path))
    assert str(caught.value).startswith(f"{path}: ")
    assert cli.main(["ukmod", "closure", "-d", str(path), "user"]) == 3


def test_bombs_and_endless_archives_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "archive"
    part = gzip.compress(b"", mtime=0)
    path.write_bytes((part + bz2.compress(b"")) * 2000)
    with pytest.raises(LimitError, match="packed parts"):
        open_archive(str(path))
    monkeypatch.setattr("ukmod.kmod.archives.initramfs.DEFAULT_LIMIT", 1 << 20)
    bomb = lzma.compress(bytes(1 << 21))
    path.write_bytes(MICROCODE + bomb)
    with pytest.raises(LimitError, match=r"offset 0x200"):
        open_archive(str(path))
    path.write_bytes(lzma.compress(bytes(600 << 10)) + bytes(4) + gzip.compress(bytes(600 << 10)))
    with pytest.raises(LimitError):
        open_archive(str(path))
    monkeypatch.setattr(archive_files, "MOST_ENTRIES", 10)
    path.write_bytes(cpio(*(ArchiveEntry(f"d/{number}", FILE) for number in range(20))))
    with pytest.raises(LimitError, match="more than 10 files"):
        open_archive(str(path))


@pytest.mark.fuzz
@given(st.sampled_from(sorted(ARCHIVES)), st.binary(min_size=1, max_size=8), st.integers(0, 1 << 14))
def test_any_bytes_give_files_or_an_error_of_ours(name: str, noise: bytes, at: int) -> None:
    data = ARCHIVES[name]
    at %= len(data)
    damaged = data[:at] + noise + data[at + len(noise) :]
    try:
        files = ArchiveFiles("/a", entries_of(memoryview(damaged), "/a"))
    except UkmodError:
        return
    assert files.listdir("/a") is not None
    for entry in every(files):
        with suppress(UkmodError):
            bytes(entry.content)


def every(files: ArchiveFiles, inside: str = "") -> Iterator[ArchiveEntry]:
    for entry in files.entries_in(inside):
        yield entry
        if stat.S_ISDIR(entry.mode):
            yield from every(files, entry.path)


def test_each_file_of_a_squashfs_is_read_whole(tmp_path: Path) -> None:
    """Files of a block, of several, with holes, with an end in a fragment; several metadata blocks."""
    sizes = (0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, 5 * BLOCK + 77)
    contents = [bytes([at]) * size for at, size in enumerate(sizes, 1)]
    contents.append(bytes(2 * BLOCK) + b"after a hole")
    entries = [
        ArchiveEntry(f"{name}{at}", FILE, content)
        for name in ("", *(f"directory-{number}/" for number in range(150)))
        for at, content in enumerate(contents)
    ]
    path = tmp_path / "archive"
    path.write_bytes(squashfs(entries))
    files = open_archive(str(path))
    assert {one.path: bytes(one.content) for one in every(files) if stat.S_ISREG(one.mode)} == {
        one.path: one.content for one in entries
    }


def test_a_squashfs_that_lies_about_sizes_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "archive"
    bomb = squashfs([ArchiveEntry("a", FILE, b"x")], lambda data: zlib.compress(data + bytes(1 << 24)))
    path.write_bytes(bomb)
    with pytest.raises(FormatError, match="unpacks to more than the limit of 8192 bytes"):
        open_archive(str(path))
    large = bytearray(squashfs([ArchiveEntry("a", FILE, b"y" * BLOCK)]))
    at = bytes(large).index(struct.pack("<QQ", 96, BLOCK))
    large[at + 8 : at + 16] = (1 << 60).to_bytes(8, "little")
    path.write_bytes(bytes(large))
    files = open_archive(str(path))
    assert files.stat(f"{path}/a").st_size == 1 << 60
    with pytest.raises(OSError, match="File too large"):
        files.read(f"{path}/a")
    with pytest.raises(LimitError, match="larger than the limit"):
        files.open_module(f"{path}/a")
    large[at + 8 : at + 16] = (1 << 63).to_bytes(8, "little")
    path.write_bytes(large)
    with pytest.raises(FormatError, match="a file of 9223372036854775808 bytes"):
        open_archive(str(path))
    path.write_bytes(squashfs([ArchiveEntry("/".join(["d" * 200] * 30), FILE)]))
    with pytest.raises(FormatError, match="a path of 4220 characters"):
        open_archive(str(path))
    path.write_bytes(squashfs([ArchiveEntry("n" * 300, FILE)]))
    with pytest.raises(FormatError, match="a name of 300 bytes"):
        open_archive(str(path))
    monkeypatch.setattr("ukmod.kmod.archives.squashfs._LINKS", 1 << 20)
    path.write_bytes(squashfs(ArchiveEntry(f"{number}", LINK, b"t" * 4096) for number in range(300)))
    with pytest.raises(LimitError, match="links of more than"):
        open_archive(str(path))
    monkeypatch.setattr("ukmod.kmod.archives.squashfs.MOST_ENTRIES", 10)
    path.write_bytes(squashfs(ArchiveEntry(f"{number}", FILE) for number in range(20)))
    with pytest.raises(LimitError, match="more than 10 files"):
        open_archive(str(path))


def test_the_files_of_a_squashfs_have_a_limit_all_in_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ukmod.kmod.archives.squashfs._MOST_CONTENT", 10 * BLOCK)
    path = tmp_path / "archive"
    path.write_bytes(squashfs(ArchiveEntry(f"{number}", FILE, bytes(BLOCK)) for number in range(20)))
    files = open_archive(str(path))
    for number in range(10):
        assert files.read(f"{path}/{number}") == bytes(BLOCK)
    with pytest.raises(LimitError, match="all in all"):
        files.read(f"{path}/10")


def test_a_directory_of_a_squashfs_that_holds_itself_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "archive"
    inner = ArchiveEntry("d/e/f", FILE, b"x")
    image = bytearray(squashfs([inner]))
    # The inode of e, named in the listing of d, becomes that of d.
    places = [match.start() for match in re.finditer(rb"\x00\x00\x01\x00\x00\x00[de]", bytes(image))]
    first, second = (at - 2 for at in places)
    image[first : first + 2] = image[second : second + 2]
    path.write_bytes(bytes(image))
    with pytest.raises(FormatError, match="a directory is in two places"):
        open_archive(str(path))


@pytest.mark.real
@pytest.mark.parametrize("packing", ["gzip", "xz", "lz4", "zstd"])
def test_what_mksquashfs_makes_is_read(tmp_path: Path, packing: str) -> None:
    kernel = debian.require()
    source = kernel.image / "lib/modules" / kernel.release / "kernel/fs/ext4"
    path = tmp_path / "image"
    subprocess.run(["mksquashfs", source, path, "-comp", packing, "-quiet"], check=True, capture_output=True)
    files = open_archive(str(path))
    assert files.read(f"{path}/ext4.ko") == (source / "ext4.ko").read_bytes()
