from __future__ import annotations

import contextlib
import copy
import errno
import gzip
import os
import struct
import subprocess
import sys
import time
from array import array
from io import BufferedReader
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.machine.btfwriter import small_kernel
from tests.machine.imagewriter import (
    BANNER,
    BASE,
    RELEASE,
    VERMAGIC,
    bzimage,
    kallsyms,
    many_symbols,
    vmlinux,
)
from tests.real import debian

from ukmod.errors import FormatError, LimitError, NotFoundError
from ukmod.kmod.elf import Elf
from ukmod.machine.image.image import KernelImage
from ukmod.machine.image.kallsyms import read_kallsyms
from ukmod.machine.image.ksymtab import KernelSymbol, Ksymtab, read_exports
from ukmod.machine.image.symbols import WORD, ImageSymbol, ImageSymbols
from ukmod.machine.image.vmlinux import Vmlinux
from ukmod.machine.registers import MASK64
from ukmod.machine.types import Btf, TypeSource, types_for

VMLINUX = vmlinux(btf=small_kernel().data())


@pytest.fixture(params=["vmlinux", "bzImage", "bzImage without a cache"])
def image(request: pytest.FixtureRequest, tmp_path: Path) -> KernelImage:
    path = tmp_path / "image"
    path.write_bytes(VMLINUX if request.param == "vmlinux" else bzimage(gzip.compress(VMLINUX)))
    return KernelImage(str(path), cache="" if "without" in request.param else str(tmp_path / "cache"))


def test_what_an_image_says_of_itself(image: KernelImage) -> None:
    assert image.banner == BANNER
    assert image.release == RELEASE
    assert image.vermagic == VERMAGIC
    assert TypeSource(Btf(image.btf)).struct("task_struct") is not None


def test_where_everything_goes(image: KernelImage) -> None:
    (segment,) = image.segments
    assert (segment.vaddr, segment.paddr, segment.flags) == (BASE, 0x1000000, 5)
    assert segment.size == segment.file_size + 4096
    rodata = image.section(".rodata")
    assert rodata is not None
    assert image.read(rodata.addr, 5) == b"Linux"
    assert image.data[rodata.offset : rodata.offset + 5] == b"Linux"
    assert image.read(BASE + segment.size - 4, 4) == bytes(4)
    with pytest.raises(FormatError, match="outside the kernel"):
        image.read(BASE + segment.size - 3, 4)


def test_exports(image: KernelImage) -> None:
    printk, hidden = image.exports["_printk"], image.exports["hidden"]
    assert (printk.address, printk.crc, printk.gpl, printk.namespace) == (BASE + 16, 0x11, False, "")
    assert (hidden.address, hidden.crc, hidden.namespace) == (BASE + 32, 0x22, "SECRET")


def test_a_flag_says_that_an_export_is_for_gpl_modules() -> None:
    """Linux 7.1 has one table of symbols, and a byte for each."""
    exports = read_exports(Vmlinux(vmlinux(flags=b"\0\1")))
    assert {name: export.gpl for name, export in exports.items()} == {"_printk": False, "hidden": True}


def test_symbols(image: KernelImage) -> None:
    expected = [ImageSymbol(name, letter, address) for name, (letter, address) in many_symbols().items()]
    assert list(image.symbols) == expected
    assert image.symbols.get("_printk") == BASE + 16 * 1500
    assert image.symbols.get("current_task") == 0x40
    assert image.symbols.get("nothing") is None
    assert image.symbols.at(BASE + 16 * 3 + 5) == ImageSymbol("function_3", "t", BASE + 48)
    assert "_text" in image.symbols


def test_symbols_with_the_addresses_last() -> None:
    found = read_kallsyms(Vmlinux(vmlinux(after=True)))
    assert [symbol.name for symbol in found] == list(many_symbols())
    assert found[-2].address == BASE + 16 * 1500


def test_symbols_whose_addresses_are_relative_to_themselves() -> None:
    """Linux 7.0: there is no base, tables are aligned to 4 bytes, and per-CPU symbols lie in the image."""
    symbols = {name: found for name, found in many_symbols().items() if found[1] >= BASE}
    found = read_kallsyms(Vmlinux(vmlinux(symbols=symbols, relative=True)))
    assert found == [ImageSymbol(name, letter, address) for name, (letter, address) in symbols.items()]


def test_of_several_symbols_at_an_address_the_first_counts() -> None:
    table = ImageSymbols.of([ImageSymbol("a", "T", 8), ImageSymbol("b", "T", 8), ImageSymbol("c", "T", 16)])
    assert table.at(12) == ImageSymbol("a", "T", 8)
    assert table.at(7) is None
    assert list(ImageSymbols.from_bytes(table.to_bytes())) == list(table)


NAMES = st.text(st.characters(blacklist_characters="\0", blacklist_categories=()), max_size=6)


@given(st.lists(st.tuples(NAMES, st.integers(0, 99)), max_size=30), NAMES)
def test_a_name_is_found_where_it_is_first(symbols: list[tuple[str, int]], other: str) -> None:
    """As in a dictionary, and in a table that was read from the cache."""
    table = ImageSymbols.of(ImageSymbol(name, "t", address) for name, address in symbols)
    cached = ImageSymbols.from_bytes(table.to_bytes())
    for name in (*dict(symbols), other):
        lowest = min((address for found, address in symbols if found == name), default=None)
        assert table.get(name) == cached.get(name) == lowest
        assert (name in cached) == (lowest is not None)


def test_symbols_in_another_byte_order_are_no_table() -> None:
    table = ImageSymbols.of(ImageSymbol(name, "t", 16 * n) for n, name in enumerate(["a", "b", "c"]))
    data = table.to_bytes()
    start, end = WORD + 3 * WORD, WORD + 3 * WORD + 24
    swapped = array("I", data[start:end])
    swapped.byteswap()
    with pytest.raises(ValueError, match="not a symbol table"):
        ImageSymbols.from_bytes(data[:start] + swapped.tobytes() + data[end:])


@given(
    st.dictionaries(
        NAMES, st.tuples(st.integers(0, MASK64), st.booleans(), st.none() | st.integers(0, 0xFFFF_FFFF))
    )
)
def test_exports_in_columns_are_what_they_were(exports: dict[str, tuple[int, bool, int | None]]) -> None:
    rows = {name: KernelSymbol(name, *values, "NS" if values[1] else "") for name, values in exports.items()}
    table = Ksymtab.of(rows.values())
    assert dict(table) == dict(copy.copy(table)) == rows
    assert table.get("\0") is None


# The cache


def packed(tmp_path: Path) -> str:
    path = tmp_path / "vmlinuz"
    path.write_bytes(bzimage(gzip.compress(VMLINUX)))
    return str(path)


def test_an_image_is_unpacked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, cache = packed(tmp_path), str(tmp_path / "cache")
    first = list(KernelImage(path, cache=cache).symbols)
    monkeypatch.setattr("ukmod.machine.image.image.unpack", None)
    monkeypatch.setattr("ukmod.machine.image.kallsyms.read_kallsyms", None)
    assert list(KernelImage(path, cache=cache).symbols) == first


@pytest.mark.parametrize("name", ["vmlinux", "symbols"])
@pytest.mark.parametrize("size", [0, 10, 1000])
def test_a_damaged_entry_counts_for_none(tmp_path: Path, name: str, size: int) -> None:
    path, cache = packed(tmp_path), tmp_path / "cache"
    first = list(KernelImage(path, cache=str(cache)).symbols)
    (entry,) = cache.glob(f"images/*/{name}")
    content = bytearray(entry.read_bytes()[:size] if size != 1000 else entry.read_bytes())
    if size == 1000:
        content[size] ^= 1
    entry.write_bytes(content)
    again = KernelImage(path, cache=str(cache))
    assert (again.banner, list(again.symbols)) == (BANNER, first)


def test_an_entry_of_another_image_counts_for_none(tmp_path: Path) -> None:
    path, directory = packed(tmp_path), tmp_path / "cache"
    other = tmp_path / "other"
    other.write_bytes(bzimage(gzip.compress(VMLINUX.replace(RELEASE.encode(), b"6.6.6-evil"))))
    for each in (path, str(other)):
        assert len(KernelImage(each, cache=str(directory)).symbols) > 1000
    places = {each: f"{KernelImage(each).digest}-*" for each in (path, str(other))}
    of = {each: next((directory / "images").glob(place)) for each, place in places.items()}
    for name in ("vmlinux", "symbols"):
        (of[path] / name).write_bytes((of[str(other)] / name).read_bytes())
    again = KernelImage(path, cache=str(directory))
    assert (again.release, len(again.symbols)) == (RELEASE, len(many_symbols()))


def test_an_image_that_is_replaced_stays_what_it_was(tmp_path: Path) -> None:
    """An upgrade renames a new kernel over it: nothing of the one is kept under the other's name."""
    path, directory = packed(tmp_path), tmp_path / "cache"
    image = KernelImage(path, cache=str(directory))
    digest = image.digest
    (tmp_path / "new").write_bytes(bzimage(gzip.compress(VMLINUX.replace(RELEASE.encode(), b"6.6.6-evil"))))
    (tmp_path / "new").rename(path)
    assert (image.release, image.digest) == (RELEASE, digest)
    assert KernelImage(path, cache=str(directory)).release == "6.6.6-evil"


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock is ten seconds ahead, so that new files do not count as files that still change."""
    now = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: now() + 10 * 10**9)


@pytest.mark.usefixtures("later")
def test_an_image_is_read_again_only_when_it_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, cache = packed(tmp_path), str(tmp_path / "cache")
    image = KernelImage(path, cache=cache)
    digest, _ = image.digest, image.vmlinux
    with monkeypatch.context() as patch:
        patch.setattr("ukmod.machine.image.image.is_packed", None)
        again = KernelImage(path, cache=cache)
        assert again.digest == digest
    assert again.release == RELEASE
    times = os.stat(path)
    while os.stat(path).st_ctime_ns == times.st_ctime_ns:  # a tick of the host's clock takes milliseconds
        with open(path, "r+b") as file:
            file.seek(-1, os.SEEK_END)
            file.write(b"!")
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert KernelImage(path, cache=cache).digest != digest


@pytest.mark.usefixtures("later")
def test_forks_of_a_process_that_has_opened_an_image_can_each_read_it(tmp_path: Path) -> None:
    path, cache = packed(tmp_path), str(tmp_path / "cache")
    assert KernelImage(path, cache=cache).digest
    image = KernelImage(path, cache=cache)
    assert image.digest
    for _ in range(2):
        if (pid := os.fork()) == 0:
            with contextlib.suppress(BaseException):
                os._exit(0 if image.release == RELEASE else 1)
            os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@pytest.mark.usefixtures("later")
def test_an_image_that_is_replaced_before_it_is_read_stays_what_it_was(tmp_path: Path) -> None:
    path, directory = packed(tmp_path), tmp_path / "cache"
    assert KernelImage(path, cache=str(directory)).digest
    image = KernelImage(path, cache=str(directory))
    digest = image.digest
    (tmp_path / "new").write_bytes(bzimage(gzip.compress(VMLINUX.replace(RELEASE.encode(), b"6.6.6-evil"))))
    (tmp_path / "new").rename(path)
    assert (image.release, image.digest) == (RELEASE, digest)


def test_a_cache_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert KernelImage(packed(tmp_path), cache=str(tmp_path / "file")).release == RELEASE


@pytest.mark.parametrize("what", ["os.makedirs", "os.mkdir", "os.replace"])
def test_a_cache_on_a_read_only_file_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    def refuse(*_arguments: object, **_options: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(f"ukmod.machine.image.cache.{what}", refuse)
    image = KernelImage(packed(tmp_path), cache=str(tmp_path / "cache"))
    assert (image.release, len(image.symbols)) == (RELEASE, len(many_symbols()))
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "vmlinuz"]


def test_a_disk_that_is_full(tmp_path: Path) -> None:
    """Nothing is left of what did not fit, and the rest of the work is done."""
    script = """
import sys
from tests.limits import largest_file
from ukmod.machine.image.image import KernelImage
with largest_file(1 << 14):
    image = KernelImage(sys.argv[1], cache=sys.argv[2])
    said = f"{image.release} {len(image.symbols)}"
print(said)
"""
    command = [sys.executable, "-c", script, packed(tmp_path), str(tmp_path / "cache")]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert said == f"{RELEASE} {len(many_symbols())}\n"
    assert [path.name for path in (tmp_path / "cache").rglob("*") if path.is_file()] == ["key"]


# What is no kernel


@pytest.mark.parametrize(
    "content",
    [b"", b"text", VMLINUX[:60], VMLINUX[:3000], bzimage(gzip.compress(b"text"))],
    ids=["empty", "text", "half a header", "half a kernel", "packed text"],
)
def test_no_kernel(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "vmlinuz"
    path.write_bytes(content)
    with pytest.raises(FormatError, match="vmlinuz"):
        _ = KernelImage(str(path), cache="").vmlinux


@pytest.mark.parametrize(("magic", "name"), [(b"ARM\x64", "arm64"), (b"RSC\x05", "RISC-V")])
def test_a_kernel_for_another_architecture(tmp_path: Path, magic: bytes, name: str) -> None:
    path = tmp_path / "Image"
    path.write_bytes(b"MZ".ljust(56, b"\0") + magic + bytes(5000))
    with pytest.raises(FormatError, match=f"Image: a kernel for {name}, not for x86-64"):
        _ = KernelImage(str(path), cache="").vmlinux


def elf(machine: int, *, kind: int = 2) -> bytes:
    """VMLINUX with another e_type and e_machine."""
    return VMLINUX[:16] + struct.pack("<HH", kind, machine) + VMLINUX[20:]


WHAT_IS_NONE = {
    "an initrd": (b"070701" + bytes(1000), "neither a bzImage nor a vmlinux"),
    "a packed initrd": (gzip.compress(b"070701" + bytes(1000)), "neither a bzImage nor a vmlinux"),
    "empty": (b"", "not a kernel image: empty"),
    "a packed nothing": (gzip.compress(b""), "not a kernel image: empty"),
    "a module": (elf(62, kind=1), "the ELF file is an object file, as modules are"),
    "a core dump": (elf(62, kind=4), "the ELF file is of type 4"),
    "for 32 bits": (elf(3), "a kernel for 32-bit x86, not for x86-64"),
    "a packed one for 32 bits": (bzimage(gzip.compress(elf(3))), "a kernel for 32-bit x86, not for x86-64"),
    "for something else": (elf(8), "a kernel for machine 8, not for x86-64"),
}


@pytest.mark.parametrize(("content", "words"), WHAT_IS_NONE.values(), ids=WHAT_IS_NONE)
def test_what_it_is_instead(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "vmlinuz"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=f"vmlinuz: .*{words}"):
        _ = KernelImage(str(path), cache="").vmlinux


def test_what_is_no_regular_file(tmp_path: Path) -> None:
    """A FIFO that nobody writes to would be waited for, and /dev/zero read to no end."""
    os.mkfifo(tmp_path / "fifo")
    for path in (str(tmp_path / "fifo"), "/dev/zero"):
        with pytest.raises(FormatError, match=f"{path}: not a kernel image: not a regular file"):
            _ = KernelImage(path).vmlinux
    with pytest.raises(NotFoundError, match="cannot read: Is a directory"):
        _ = KernelImage(str(tmp_path)).vmlinux
    with pytest.raises(FormatError, match="/dev/null: not a kernel image"):
        _ = KernelImage("/dev/null").vmlinux


@pytest.mark.parametrize(
    ("head", "size"),
    [(VMLINUX, "2,048"), (gzip.compress(VMLINUX)[:500], "64")],
    ids=["vmlinux", "packed"],
)
def test_a_file_without_end_is_not_read(tmp_path: Path, head: bytes, size: str) -> None:
    path = tmp_path / "vmlinuz"
    path.write_bytes(head)
    os.truncate(path, 1 << 40)
    for what in ("vmlinux", "digest"):
        with pytest.raises(LimitError, match=f"larger than {size} MiB"):
            getattr(KernelImage(str(path)), what)


def test_a_vmlinux_that_is_truncated_later_is_the_same_image(tmp_path: Path) -> None:
    path = tmp_path / "vmlinux"
    path.write_bytes(VMLINUX)
    image = KernelImage(str(path), cache="")
    content = image.vmlinux.data
    os.truncate(path, 0)  # a page of a mapped file that is no longer there is a SIGBUS
    assert content[:] == VMLINUX
    assert image.banner == BANNER


def test_a_vmlinux_that_is_truncated_while_it_is_read_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "vmlinux"
    path.write_bytes(VMLINUX)

    def read_a_little(file: BufferedReader, view: memoryview, at: int) -> int:
        count = os.preadv(file.fileno(), [view[:100]], at)
        os.truncate(path, 150)
        return count

    monkeypatch.setattr("ukmod.machine.image.image._read_into", read_a_little)
    with pytest.raises(FormatError, match=r"vmlinux: was truncated while it was read \(at offset 0x96\)"):
        _ = KernelImage(str(path), cache="").vmlinux


@pytest.mark.parametrize("size", [*range(0, 0x260, 7), 0x400, 0x500, 0x900])
def test_cut_off_anywhere(tmp_path: Path, size: int) -> None:
    path = tmp_path / "vmlinuz"
    path.write_bytes(bzimage(gzip.compress(VMLINUX))[:size])
    with pytest.raises(FormatError, match="vmlinuz"):
        _ = KernelImage(str(path), cache="").vmlinux


@pytest.mark.parametrize("size", range(0, 3000, 61))
def test_a_vmlinux_that_is_cut_off(tmp_path: Path, size: int) -> None:
    path = tmp_path / "vmlinux"
    path.write_bytes(VMLINUX[:size])
    with pytest.raises(FormatError, match="vmlinux"):
        _ = KernelImage(str(path), cache="").vmlinux.banner()


def test_an_absent_image_and_one_over_the_limit_are_errors(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="No such file"):
        _ = KernelImage(str(tmp_path / "none")).vmlinux
    with pytest.raises(LimitError):
        _ = KernelImage(packed(tmp_path), cache="", limit=5000).vmlinux


def test_a_kernel_without_btf(tmp_path: Path) -> None:
    path = tmp_path / "vmlinux"
    path.write_bytes(vmlinux())
    image = KernelImage(str(path))
    with pytest.raises(FormatError, match=r"vmlinux: has no BTF \(CONFIG_DEBUG_INFO_BTF\)$"):
        _ = image.btf
    with pytest.raises(FormatError, match=r"vmlinux: has no BTF .*: name a file that has it with --btf"):
        types_for((), kernel=image).sizeof("task_struct")


def test_a_kernel_without_symbols(tmp_path: Path) -> None:
    path = tmp_path / "vmlinux"
    path.write_bytes(vmlinux(symbols={}))
    with pytest.raises(FormatError, match=r"vmlinux: has no symbols .*: name its vmlinux"):
        _ = KernelImage(str(path)).symbols


def test_btf_from_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "vmlinux").write_bytes(vmlinux())
    (tmp_path / "btf").write_bytes(small_kernel().data())
    types = types_for((), btf=str(tmp_path / "btf"), kernel=KernelImage(str(tmp_path / "vmlinux")))
    assert types.has("task_struct")
    assert not types.has("nothing")  # the image is not asked


TABLES = VMLINUX.index(kallsyms(many_symbols())), len(VMLINUX)


@given(
    st.dictionaries(
        st.one_of(st.integers(0, 160), st.integers(*TABLES), st.integers(len(VMLINUX) - 900, len(VMLINUX))),
        st.integers(0, 255),
        min_size=1,
        max_size=6,
    )
)
def test_damaged(changes: dict[int, int]) -> None:
    data = bytearray(VMLINUX)
    for at, byte in changes.items():
        data[min(at, len(data) - 1)] = byte
    for read in (read_kallsyms, read_exports, Vmlinux.banner):
        with contextlib.suppress(FormatError):
            read(Vmlinux(bytes(data)))


# The real thing


@pytest.mark.real
def test_debians_kernel(tmp_path: Path) -> None:
    kernel = debian.require()
    image = KernelImage(str(kernel.vmlinuz), cache=str(tmp_path))
    assert image.release == kernel.release
    assert len(image.exports) == 10503
    text = image.section(".text")
    table = image.section("__ksymtab")
    assert text is not None
    assert table is not None
    assert image.symbols.get("_text") == text.addr
    assert image.symbols.get("__start___ksymtab") == table.addr
    addresses = {symbol.address for symbol in image.symbols}
    assert all(export.address in addresses for export in image.exports.values())
    banner = image.symbols.get("linux_banner")
    assert banner is not None
    assert image.read(banner, len(image.banner)) == image.banner.encode()


@pytest.mark.real
def test_debians_modules_fit_debians_kernel(tmp_path: Path) -> None:
    kernel = debian.require()
    image = KernelImage(str(kernel.vmlinuz), cache=str(tmp_path))
    path = kernel.modules / "kernel" / "fs" / "isofs" / "isofs.ko"
    module = Elf(path.read_bytes(), str(path))
    assert ("vermagic", image.vermagic) in module.modinfo()
    for name, crc in module.versions().items():
        if name in image.exports:
            assert image.exports[name].crc == crc
    types = types_for(module, btf=None, kernel=str(kernel.vmlinuz))
    size = module.section(".gnu.linkonce.this_module")
    assert size is not None
    assert types.sizeof("module") == size.size
    assert types.has("isofs_sb_info", "s_ninodes")  # from the module's own, split BTF
