from __future__ import annotations

import lzma
import subprocess
import sys
from pathlib import Path

import pytest
from tests.elfwriter import TARGETS, Section, Target, elf, module
from tests.kmod.depmod.trees import CHAIN, RELEASE, make_tree
from tests.kmod.fakehost import FakeHost

from ukmod.kmod import index_write
from ukmod.kmod.index import Index
from ukmod.kmod.tools.depmod import main

CHECKS = {"c32": lzma.CHECK_CRC32, "c64": lzma.CHECK_CRC64}
INPUTS = {"modules.order", "modules.builtin", "modules.builtin.modinfo"}
GONE = "No such file or directory"
TEXTS = ("dep", "alias", "softdep", "weakdep", "symbols", "devname")
INDEXES = ("dep.bin", "alias.bin", "symbols.bin", "builtin.bin", "builtin.alias.bin")
OUTPUTS = {f"modules.{name}" for name in (*TEXTS, *INDEXES)}


def depmod(root: Path, *words: str, status: int = 0, release: str = RELEASE) -> tuple[str, list[str]]:
    """Run depmod on a tree without configuration; return what it printed, and its messages."""
    host = FakeHost()
    arguments = ["depmod", "--no-cache", "-b", str(root), "-C", str(root / "none"), *words, release]
    assert main(arguments, host) == status, host.stderr.text
    return host.stdout.text, host.stderr.text.splitlines()


def test_all_files_appear(tmp_path: Path) -> None:
    directory = make_tree(tmp_path, CHAIN)
    assert depmod(tmp_path) == ("", [])
    assert {path.name for path in directory.iterdir()} == OUTPUTS | INPUTS | {"kernel"}
    assert (directory / "modules.dep").read_text() == (
        "kernel/top.ko: kernel/middle.ko kernel/base-x.ko\n"
        "kernel/middle.ko: kernel/base-x.ko\n"
        "kernel/base-x.ko:\n"
    )
    dep = Index.open(str(directory / "modules.dep.bin"))
    assert dep.lookup("middle") == "kernel/middle.ko: kernel/base-x.ko"
    assert Index.open(str(directory / "modules.builtin.bin")).lookup("crc_x") == ""
    assert Index.open(str(directory / "modules.builtin.alias.bin")).lookup("crypto_x") == "crc_x"


def test_what_modules_say_of_themselves(tmp_path: Path) -> None:
    fields = [
        "alias=pci:v-1",
        "alias=a[0-9]-b",
        "softdep=pre: x",
        "weakdep=y",
        "alias=devname:ttyX",
        "alias=char-major-4-65",
    ]
    directory = make_tree(tmp_path, {"m-n.ko": module("m_n", *fields)})
    depmod(tmp_path)
    read = {
        name: (directory / f"modules.{name}").read_text().splitlines()[1:]
        for name in ("alias", "softdep", "weakdep")
    }
    assert read["alias"][:2] == ["alias pci:v-1 m_n", "alias a[0-9]-b m_n"]
    assert read["softdep"] == ["softdep m_n pre: x"]
    assert read["weakdep"] == ["weakdep m_n y"]
    assert (directory / "modules.devname").read_text().splitlines()[1:] == ["m_n ttyX c4:65"]
    alias = Index.open(str(directory / "modules.alias.bin"))
    assert alias.lookup("pci:v_1") == "m_n"
    assert alias.lookup_wild("a5_b") == ["m_n"]


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: f"{target.bits}-{target.order}")
def test_modules_of_any_machine(tmp_path: Path, target: Target) -> None:
    user = module(needs=["x_do"], crcs={"x_do": 9}, target=target)
    directory = make_tree(tmp_path, {"u.ko": user, "x.ko": module(exports={"x_do": 9}, target=target)})
    depmod(tmp_path)
    assert (directory / "modules.dep").read_text() == "u.ko: x.ko\nx.ko:\n"


def test_show_prints_the_texts_and_writes_nothing(tmp_path: Path) -> None:
    directory = make_tree(tmp_path, CHAIN)
    output, _ = depmod(tmp_path, "-n")
    assert output.startswith("kernel/top.ko: ")
    assert "alias symbol:base_do base_x\n" in output
    assert {path.name for path in directory.iterdir()} == INPUTS | {"kernel"}


def test_outdir_and_moduledir(tmp_path: Path) -> None:
    make_tree(tmp_path / "in", CHAIN)
    (tmp_path / "in/lib").rename(tmp_path / "in/usr")
    depmod(tmp_path / "in", "-o", str(tmp_path / "out"), "--moduled", "/usr/modules")
    assert {path.name for path in (tmp_path / "out/usr/modules" / RELEASE).iterdir()} == OUTPUTS


def test_a_cycle_writes_nothing(tmp_path: Path) -> None:
    directory = make_tree(
        tmp_path, {"a.ko": (["a_"], ["b_"]), "b.ko": (["b_"], ["a_"]), "c.ko": ((), ["a_"])}
    )
    assert depmod(tmp_path, status=1)[1] == [
        "depmod: ERROR: Cycle detected: a -> b -> a",
        "depmod: ERROR: Found 2 modules in dependency cycles!",
    ]
    assert not (directory / "modules.dep").exists()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "Invalid argument"),
        (b"not a module", "Exec format error"),
        (module("x")[:-1], "Invalid argument"),
    ],
    ids=["empty", "other", "truncated"],
)
def test_a_broken_module_is_listed_all_the_same(tmp_path: Path, content: bytes, reason: str) -> None:
    directory = make_tree(tmp_path, {"bad.ko": content, "good.ko": module("good")})
    path = f"{directory}/bad.ko"
    assert depmod(tmp_path)[1] == [f"depmod: ERROR: failed to load symbols from {path}: {reason}"]
    assert (directory / "modules.dep").read_text() == "bad.ko:\ngood.ko:\n"


def test_without_kbuilds_lists_there_are_warnings(tmp_path: Path) -> None:
    directory = make_tree(tmp_path, CHAIN)
    for name in INPUTS:
        (directory / name).unlink()
    missing = f"at {directory}: No such file or directory"
    assert depmod(tmp_path)[1] == [
        f"depmod: WARNING: could not open modules.order {missing}",
        f"depmod: WARNING: could not open modules.builtin {missing}",
        f"depmod: WARNING: could not open modules.builtin.modinfo {missing}",
    ]
    assert (directory / "modules.builtin.bin").read_bytes() == b""


def test_a_built_in_line_without_a_dot_keeps_its_newline(tmp_path: Path) -> None:
    """As in kmod's index: nobody asks for such a name, but the bytes are the same."""
    directory = make_tree(tmp_path, CHAIN)
    (directory / "modules.builtin").write_text("bad\nkernel/good.ko\n")
    assert depmod(tmp_path)[1] == []
    index = Index.open(str(directory / "modules.builtin.bin"))
    assert (index.lookup("bad\n"), index.lookup("bad"), index.lookup("good")) == ("", None, "")


def test_a_built_in_module_without_a_value_hides_no_other(tmp_path: Path) -> None:
    directory = make_tree(tmp_path, CHAIN)
    (directory / "modules.builtin.modinfo").write_bytes(b"a.license=GPL\0b.no value\0c.alias=x\0")
    assert depmod(tmp_path)[1] == []
    assert Index.open(str(directory / "modules.builtin.alias.bin")).lookup("x") == "c"


def test_errsyms_with_symvers(tmp_path: Path) -> None:
    user = module(needs=["printk", "gone", "x_do"], weak=["maybe"], crcs={"printk": 1, "x_do": 3})
    directory = make_tree(tmp_path, {"u.ko": user, "x.ko": module(exports={"x_do": 4})})
    symvers = tmp_path / "Module.symvers"
    symvers.write_text(
        "0x2\tprintk\tvmlinux\tEXPORT_SYMBOL\t\nzz\tbad\tvmlinux\tX\n0x1\tother\tdrivers/x\n0x1\tgone\tvmlinux\n"
    )
    assert depmod(tmp_path, "-e", "-E", str(symvers))[1] == [
        f"depmod: ERROR: {symvers}:2 Invalid symbol version zz: Success",
        f"depmod: WARNING: {directory}/u.ko disagrees about version of symbol printk",
        f"depmod: WARNING: {directory}/u.ko needs unknown symbol gone",
        f"depmod: WARNING: {directory}/u.ko disagrees about version of symbol x_do",
    ]


def test_errsyms_with_a_system_map(tmp_path: Path) -> None:
    directory = make_tree(tmp_path, {"u.ko": ((), ["printk", "gone", "__this_module"])})
    system_map = tmp_path / "System.map"
    system_map.write_text("c0 R __ksymtab_printk\nc1 T printk\nodd\n\n")
    assert depmod(tmp_path, "-eF", str(system_map))[1] == [
        f"depmod: ERROR: {system_map}:3: invalid line: odd",
        "",
        f"depmod: ERROR: {system_map}:4: invalid line: ",
        "",
        f"depmod: WARNING: {directory}/u.ko needs unknown symbol gone",
    ]
    assert depmod(tmp_path, "-e")[1] == ["depmod: WARNING: -e needs -E or -F"]


def test_symbol_prefix_and_function_descriptors(tmp_path: Path) -> None:
    directory = make_tree(tmp_path, {"u.ko": ((), ["._x_do"]), "x.ko": (["_x_do"], ())})
    depmod(tmp_path, "-P", "_")
    assert (directory / "modules.dep").read_text() == "u.ko: x.ko\nx.ko:\n"
    assert "alias symbol:x_do x\n" in (directory / "modules.symbols").read_text()


def test_verbose_says_who_needs_whom(tmp_path: Path) -> None:
    directory = make_tree(tmp_path, CHAIN)
    assert depmod(tmp_path, "-v")[0] == (
        f'{directory}/kernel/top.ko needs "middle_do": {directory}/kernel/middle.ko\n'
        f'{directory}/kernel/middle.ko needs "base_do": {directory}/kernel/base-x.ko\n'
    )


def test_modules_that_the_kernel_cannot_unpack(tmp_path: Path) -> None:
    packed = {f"{name}.ko.xz": lzma.compress(module(name), check=check) for name, check in CHECKS.items()}
    directory = make_tree(tmp_path, packed)
    assert depmod(tmp_path) == ("", [])
    (warning,) = depmod(tmp_path, "-w")[1]
    start = (
        f"depmod: WARNING: {directory}/c64.ko.xz: the kernel cannot unpack it itself: xz with the check CRC64"
    )
    assert warning.startswith(start)
    assert warning.endswith(": compress it with xz --check=crc32 --lzma2=dict=2MiB")


def test_duplicates_are_warned_of(tmp_path: Path) -> None:
    """What one module says twice, dashes or not; an alias that two have is nothing unusual."""
    modules = {"a.ko": module("a", "alias=x-1", "alias=y", "alias=x_1"), "b.ko": module("b", "alias=y")}
    make_tree(tmp_path, modules)
    assert depmod(tmp_path, "-w")[1] == ["depmod: WARNING: duplicate module alias:", "x_1 a"]


def test_an_odd_bracket_is_left_out_of_the_index_only(tmp_path: Path) -> None:
    directory = make_tree(tmp_path, {"a.ko": module("a", "alias=x[1")})
    assert depmod(tmp_path)[1] == ["depmod: WARNING: Unmatched bracket in x[1"]
    assert "alias x[1 a\n" in (directory / "modules.alias").read_text()


def test_devname_without_numbers(tmp_path: Path) -> None:
    make_tree(tmp_path, {"a.ko": module("a", "alias=devname:x", "alias=char-major-10-*")})
    problem = "Module 'a' has devname (x) but lacks major and minor information. Ignoring."
    assert depmod(tmp_path)[1] == [f"depmod: ERROR: {problem}"]


def test_what_is_not_ascii_stops_everything(tmp_path: Path) -> None:
    directory = make_tree(tmp_path, CHAIN)
    depmod(tmp_path)
    before = (directory / "modules.dep").read_bytes()
    (directory / "kernel/new.ko").write_bytes(module("new", "alias=caf\xe9"))
    assert depmod(tmp_path, status=1)[1] == [
        "depmod: FATAL: Module index: caf\xe9: only 7-bit ASCII is supported"
    ]
    assert (directory / "modules.dep").read_bytes() == before


def test_only_the_files_given(tmp_path: Path) -> None:
    directory = make_tree(tmp_path, CHAIN)
    host = FakeHost()
    assert main(["depmod", "-b", str(tmp_path), RELEASE, f"{directory}/kernel/top.ko"], host) == 0
    assert (directory / "modules.dep").read_text() == "kernel/top.ko:\n"
    for words, message in (
        (["rel.ko"], "rel.ko: not absolute path."),
        ([f"{directory}/no.ko"], f"could not create module {directory}/no.ko: No such file or directory"),
    ):
        host = FakeHost()
        assert main(["depmod", "-b", str(tmp_path), RELEASE, *words], host) == 1
        assert host.stderr.text == f"depmod: FATAL: {message}\n"


def test_quick_goes_by_time(tmp_path: Path) -> None:
    import os

    directory = make_tree(tmp_path, CHAIN)
    depmod(tmp_path, "-A")
    (directory / "modules.alias").unlink()
    os.utime(directory / "modules.dep", (2**31, 2**31))
    depmod(tmp_path, "-A")
    assert not (directory / "modules.alias").exists()
    os.utime(directory / "modules.dep", (1, 1))
    depmod(tmp_path, "-A")
    assert (directory / "modules.alias").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["6x"], "ERROR: Bad version passed 6x"),
        (["-P", "ab"], "FATAL: -P only takes a single char"),
        (["-E", "/nonexistent"], "FATAL: could not load /nonexistent: No such file or directory"),
        (["-b", "/0", "6.1"], f"ERROR: could not open directory /0/lib/modules/6.1: {GONE}"),
    ],
)  # fmt: skip
def test_usage(words: list[str], message: str) -> None:
    host = FakeHost()
    assert main(["/sbin/depmod", *words], host) == 1
    assert host.stderr.text.splitlines()[0] == f"depmod: {message}"


def test_help_and_version() -> None:
    for word, start in (("-h", "Usage:\n\tdepmod -[aA]"), ("--version", "kmod version ")):
        host = FakeHost()
        assert main(["depmod", word], host) == 0
        assert host.stdout.text.startswith(start)


def test_a_module_without_symbol_table_needs_nothing(tmp_path: Path) -> None:
    stripped = elf([Section(".modinfo", b"alias=x\0")]).replace(b".symtab", b".nothin")
    directory = make_tree(tmp_path, {"s.ko": stripped})
    assert depmod(tmp_path)[1] == []
    assert "alias x s\n" in (directory / "modules.alias").read_text()


class TestDifferencesFromKmod:
    """What docs/reference/kmod-differences.md lists for depmod."""

    def test_zstd_without_a_content_size(self, tmp_path: Path) -> None:
        from tests.zstandard import zstd

        packer = zstd.ZstdCompressor()
        piped = packer.compress(module("a", "alias=x")) + packer.flush()
        directory = make_tree(tmp_path, {"a.ko.zst": piped})
        assert depmod(tmp_path)[1] == []
        assert "alias x a\n" in (directory / "modules.alias").read_text()

    def test_a_link_back_to_its_own_directory(self, tmp_path: Path) -> None:
        directory = make_tree(tmp_path, CHAIN)
        (directory / "kernel/loop").symlink_to(".")
        assert depmod(tmp_path)[1] == [
            f"depmod: ERROR: {directory}/kernel/loop leads back to a directory it is in, and is passed over"
        ]
        assert "loop" not in (directory / "modules.dep").read_text()

    def test_a_cycle_behind_a_module_ends(self, tmp_path: Path) -> None:
        needs = {"a": ["a_", "b_"], "b": ["c_"], "c": ["d_"], "d": ["c_"]}
        make_tree(tmp_path, {f"{name}.ko": ([f"{name}_"], needed) for name, needed in needs.items()})
        assert depmod(tmp_path, status=1)[1][-1].endswith("modules in dependency cycles!")

    def test_a_bare_configuration_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        directory = make_tree(tmp_path, CHAIN)
        (tmp_path / "mine.conf").write_text("exclude top.ko\n")
        monkeypatch.chdir(tmp_path)
        depmod(tmp_path, "-C", "mine.conf")
        assert "top.ko" not in (directory / "modules.dep").read_text()

    def test_a_directory_that_cannot_be_written(self, tmp_path: Path) -> None:
        directory = make_tree(tmp_path, CHAIN)
        (directory / "modules.alias").mkdir()
        message = "depmod: ERROR: Could not create index 'modules.alias': Is a directory"
        assert depmod(tmp_path, status=1)[1] == [message]
        assert not (directory / "modules.dep").exists()


def chain(tmp_path: Path, length: int) -> Path:
    """Write modules each of which needs the next; modules.dep has nearly the square of that in long paths."""
    directory = "d" * 200
    return make_tree(
        tmp_path,
        {f"{directory}/m{n}.ko": ([f"s{n}"], [f"s{n + 1}"] if n + 1 < length else []) for n in range(length)},
    )


def test_an_index_that_positions_cannot_reach_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = chain(tmp_path, 10)
    before = sorted(directory.iterdir())
    monkeypatch.setattr(index_write, "POSITION", 1 << 12)
    host = FakeHost()
    assert main(["depmod", "-b", str(tmp_path), RELEASE], host) == 1
    assert host.stderr.text == "depmod: ERROR: an index of 256 MiB or more: its positions have 28 bits\n"
    assert sorted(directory.iterdir()) == before


LITTLE_MEMORY = """
import resource, sys
from ukmod.cli import run_tool

run_tool("depmod", ["depmod", "-n", "-b", sys.argv[2], "6.1"])  # what it imports is imported
with open("/proc/self/statm") as file:
    size = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + int(sys.argv[1]), -1))
sys.exit(run_tool("depmod", ["depmod", "--no-cache", "-b", sys.argv[3], "6.1"]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is there, and memory is limited, on Linux")
@pytest.mark.parametrize("mebibytes", [1, 8, 16, 256])
def test_too_little_memory_is_a_line_and_nothing_is_written(tmp_path: Path, mebibytes: int) -> None:
    make_tree(tmp_path / "small", CHAIN)
    directory = chain(tmp_path / "large", 300)
    before = sorted(directory.iterdir())
    words = [str(mebibytes << 20), str(tmp_path / "small"), str(tmp_path / "large")]
    done = subprocess.run(
        [sys.executable, "-c", LITTLE_MEMORY, *words], capture_output=True, text=True, check=False
    )
    if mebibytes == 256:
        assert (done.returncode, done.stderr) == (0, "")
        assert (directory / "modules.dep.bin").stat().st_size > 1 << 23
    else:
        assert (done.returncode, done.stderr) == (1, "depmod: ERROR: out of memory\n")
        assert sorted(directory.iterdir()) == before
