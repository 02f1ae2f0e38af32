"""Images of a real kernel that lack something, or that lie: one line says which file, and what is amiss."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from tests.real.debian import Debian

from ukmod import cli
from ukmod.errors import FormatError, LayoutError, MachineError
from ukmod.kernel.api import Kernel
from ukmod.kmod.elf import SHF_EXECINSTR
from ukmod.machine.image.image import KernelImage
from ukmod.machine.image.symbols import ImageSymbol

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def good(kernel_package: Debian) -> KernelImage:
    return KernelImage(str(kernel_package.vmlinuz))


@pytest.fixture
def bad(good: KernelImage, tmp_path: Path) -> Callable[..., Path]:
    """Writes the vmlinux with a part of a section replaced."""

    def write(name: str, section: str, start: int, part: bytes) -> Path:
        found = good.section(section)
        assert found is not None
        at = found.offset + start
        (tmp_path / name).write_bytes(good.data[:at] + part + good.data[at + len(part) :])
        return tmp_path / name

    return write


def place(good: KernelImage, section: str, address: int) -> int:
    """Where in a section an address is."""
    found = good.section(section)
    assert found is not None
    return address - found.addr


@pytest.fixture
def without_btf(good: KernelImage, bad: Callable[..., Path]) -> Path:
    """As built without CONFIG_DEBUG_INFO_BTF."""
    data = good.vmlinux.content(".shstrtab")
    return bad("vmlinux", ".shstrtab", data.index(b".BTF\0"), b".XXX")


class TestWithoutBtf:
    """It may lie elsewhere, as what was cut out of a vmlinux with debugging information."""

    def test_an_image_without_btf_is_refused_with_what_to_do(self, without_btf: Path) -> None:
        text = r"vmlinux: has no BTF \(CONFIG_DEBUG_INFO_BTF\): name a file that has it with --btf"
        with Kernel(image=without_btf) as k, pytest.raises(FormatError, match=text):
            k.boot()

    def test_a_btf_file_beside_the_image_is_used(
        self, without_btf: Path, kernel_package: Debian, good: KernelImage
    ) -> None:
        (without_btf.parent / "btf").write_bytes(good.btf)
        module = kernel_package.modules / "kernel/lib/crc7.ko"
        with Kernel(image=without_btf, btf=without_btf.parent / "btf") as k:
            k.insmod(module)
            assert k.core.boot is not None
            assert k.core.boot.failed == ()

    def test_a_profile_is_not_enough(self, without_btf: Path, kernel_package: Debian) -> None:
        profile = without_btf.parent / "profile.json"
        assert cli.main(["ukmod", "profile", str(kernel_package.vmlinuz), "-o", str(profile)]) == 0
        with Kernel(image=without_btf, btf=profile) as k, pytest.raises(FormatError, match="has no BTF"):
            k.boot()

    def test_in_a_survey(
        self, without_btf: Path, kernel_package: Debian, good: KernelImage, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (without_btf.parent / "btf").write_bytes(good.btf)
        words = ["survey", "-d", kernel_package.image, "-S", kernel_package.release, "--jobs", "1", "crc7"]
        words += ["--kernel", without_btf]
        assert cli.main(["ukmod", *map(str, words)]) == 3
        out, err = capsys.readouterr()
        text = (
            "has no BTF (CONFIG_DEBUG_INFO_BTF): name a file that has it with --btf, or the kernel's vmlinux "
            "with debugging information"
        )
        assert (out, err.splitlines()[-1]) == ("", f"ukmod survey: {without_btf}: {text}")
        assert cli.main(["ukmod", *map(str, words), "--btf", str(without_btf.parent / "btf")]) == 0


@pytest.fixture
def without_kallsyms(good: KernelImage, bad: Callable[..., Path]) -> Path:
    """No table is found, as its tokens are not; nor has the ELF file a symbol table."""
    digits = b"".join(b"%d\0" % digit for digit in range(10))
    rodata = good.vmlinux.content(".rodata").replace(digits, bytes(len(digits)))
    return bad("vmlinux", ".rodata", 0, rodata)


def test_without_symbols(without_kallsyms: Path) -> None:
    text = r"vmlinux: has no symbols \(CONFIG_KALLSYMS\): name its vmlinux, with a symbol table"
    with Kernel(image=without_kallsyms) as k, pytest.raises(FormatError, match=text):
        k.boot()


def test_with_the_elf_file_s_symbols(
    without_kallsyms: Path, good: KernelImage, kernel_package: Debian
) -> None:
    without_kallsyms.write_bytes(with_symbol_table(without_kallsyms.read_bytes(), good.symbols))
    with Kernel(image=without_kallsyms) as k:
        k.insmod(kernel_package.modules / "kernel/lib/crc7.ko")
        assert k.core.boot is not None
        assert k.core.boot.failed == ()


def with_symbol_table(data: bytes, symbols: Iterable[ImageSymbol]) -> bytes:
    """An ELF file with a symbol table more, which it had none of."""
    names, table = bytearray(b"\0"), bytearray(24)
    kinds = {"t": 2, "w": 2, "a": 0}
    for name, letter, address in symbols:
        kind = kinds.get(letter.lower(), 1) | letter.isupper() << 4
        table += struct.pack("<IBBHQQ", len(names), kind, 0, 1, address, 0)
        names += name.encode() + b"\0"
    (at,) = struct.unpack_from("<Q", data, 40)
    (count,) = struct.unpack_from("<H", data, 60)
    end = len(data)
    headers = data[at : at + 64 * count]
    headers += struct.pack("<IIQQQQIIQQ", 0, 2, 0, 0, end, len(table), count + 1, 1, 8, 24)
    headers += struct.pack("<IIQQQQIIQQ", 0, 3, 0, 0, end + len(table), len(names), 0, 0, 1, 0)
    start = end + len(table) + len(names)
    head = data[:40] + struct.pack("<Q", start) + data[48:60] + struct.pack("<H", count + 2)
    return head + data[62:] + table + names + headers


def test_a_variable_that_is_not_named(booted: Kernel) -> None:
    """As with CONFIG_KALLSYMS but without CONFIG_KALLSYMS_ALL."""
    assert booted.core.image is not None
    with pytest.raises(LayoutError, match=r"vmlinuz.*: has no symbol nobody: without CONFIG_KALLSYMS_ALL, "):
        booted.core.image.address("nobody")


def test_an_export_that_lies(good: KernelImage, bad: Callable[..., Path]) -> None:
    """Where ``jiffies`` is said to be there is nothing."""
    table = good.vmlinux.content("__ksymtab")
    value = place(good, "__ksymtab", good.exports["jiffies"].address)
    entries = struct.iter_unpack("<iii", table)
    at = next(12 * n for n, entry in enumerate(entries) if 12 * n + entry[0] == value)
    path = bad("vmlinux", "__ksymtab", at, struct.pack("<i", 1 << 30))
    with (
        Kernel(image=path) as k,
        pytest.raises(MachineError, match="vmlinux: cannot be brought up: page fault"),
    ):
        k.boot()


def test_code_that_cannot_be_run(good: KernelImage, tmp_path: Path) -> None:
    """No segment and no section is marked executable."""
    data = bytearray(good.data)
    (count,) = struct.unpack_from("<H", data, 56)
    for at in range(64, 64 + 56 * count, 56):
        data[at + 4] &= ~1
    ((headers,), (count,)) = struct.unpack_from("<Q", data, 40), struct.unpack_from("<H", data, 60)
    for at in range(headers, headers + 64 * count, 64):
        data[at + 8] &= ~SHF_EXECINSTR
    (tmp_path / "vmlinux").write_bytes(data)
    text = r"vmlinux: cannot be brought up: (\d+) of \1 steps of its initialisation failed, first .*: oops: "
    with Kernel(image=tmp_path / "vmlinux") as k, pytest.raises(MachineError, match=text):
        k.boot()


def test_initialisation_that_fails(
    good: KernelImage, bad: Callable[..., Path], kernel_package: Debian, capsys: pytest.CaptureFixture[str]
) -> None:
    """The image comes up as far as it does, and it is said that it is not whole."""
    address = good.symbols.get("sock_init")
    assert address is not None
    path = bad("vmlinux", ".init.text", place(good, ".init.text", address), b"\x0f\x0b" * 8)
    tree = ["-d", str(kernel_package.image), "-S", kernel_package.release, "--kernel", str(path)]
    for command in ("run", "survey"):
        cli.main(["ukmod", command, *tree, "crc7"])
        err = capsys.readouterr().err
        assert f"ukmod {command}: {path}: is it damaged? " in err
        assert " steps of its initialisation failed, first sock_init: oops: " in err
        assert err.count("\n") == 1
