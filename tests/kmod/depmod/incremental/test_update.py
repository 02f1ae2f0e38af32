"""Whatever happens to a tree between two runs, the second leaves what a run that remembers nothing would."""

from __future__ import annotations

import itertools
import os
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from tests.elfwriter import module
from tests.kmod.depmod.trees import RELEASE, make_tree
from tests.kmod.fakehost import FakeHost

from ukmod.kmod.depmod.facts import Facts, read_facts
from ukmod.kmod.depmod.incremental import cache
from ukmod.kmod.tools.depmod import main

_times = itertools.count(1_000_000_000_000_000_000, 1_000_000_000)
INPUTS = ("modules.order", "modules.builtin", "modules.builtin.modinfo")


@pytest.fixture(autouse=True)
def _private_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "ukmod.kmod.tools.depmod.cache_path",
        lambda dirname, _environ, privileged: cache.cache_path(
            dirname, {"XDG_CACHE_HOME": f"{tmp_path}/cache"}, privileged=False
        ),
    )


@pytest.fixture
def _settled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ukmod.kmod.regular._SETTLED_NS", -(10**12))


def put(path: Path, data: bytes) -> None:
    """Write a file whose time stamp no other has."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    stamp(path)


def stamp(path: Path) -> None:
    time = next(_times)
    os.utime(path, ns=(time, time))


def depmod(root: Path, *words: str) -> tuple[int, list[str]]:
    host = FakeHost()
    status = main(["depmod", "-b", str(root), "-C", str(root / "conf"), *words, RELEASE], host)
    return status, host.stderr.text.splitlines()


def outputs(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.glob("modules.*") if path.name not in INPUTS}


def check(root: Path, directory: Path, *words: str) -> None:
    """Run depmod twice, with and without what it remembers: they agree on files, messages and status."""
    told = depmod(root, *words)
    left = outputs(directory)
    assert told == depmod(root, "--no-cache", *words)
    assert left == outputs(directory)


NAMES = st.sampled_from(["kernel/a.ko", "kernel/b.ko", "kernel/c-d.ko", "updates/a.ko", "extra/e.ko"])
SYMBOLS = st.lists(st.sampled_from(["one", "two", "three"]), max_size=2, unique=True)
FIELDS = st.lists(
    st.sampled_from(
        [
            "alias=pci:v1*",
            "alias=bad[",
            "alias=devname:x",
            "alias=char-major-4-5",
            "softdep=pre: b",
            "weakdep=c",
        ]
    ),
    max_size=3,
)
MODULES = st.builds(
    lambda fields, own, needs: module("m", *fields, exports=own, needs=needs), FIELDS, SYMBOLS, SYMBOLS
)


class Edits(RuleBasedStateMachine):
    """A tree, edited at random, with depmod after each edit."""

    def __init__(self) -> None:
        super().__init__()
        self.holder = tempfile.TemporaryDirectory()
        self.root = Path(self.holder.name)

    def teardown(self) -> None:
        self.holder.cleanup()

    @initialize(content=MODULES)
    def start(self, content: bytes) -> None:
        self.directory = make_tree(self.root, {"kernel/a.ko": content, "kernel/z.ko": (("two",), ())})
        for path in self.directory.rglob("*"):
            stamp(path)
        self.run()

    def run(self) -> None:
        # Twice as it is used: the second run finds nothing changed.
        depmod(self.root)
        check(self.root, self.directory)

    @rule(name=NAMES, content=MODULES)
    def write_module(self, name: str, content: bytes) -> None:
        put(self.directory / name, content)
        self.run_once()

    @rule(name=NAMES)
    def remove(self, name: str) -> None:
        (self.directory / name).unlink(missing_ok=True)
        self.run_once()

    @rule(name=NAMES)
    def touch(self, name: str) -> None:
        if (self.directory / name).exists():
            stamp(self.directory / name)
        self.run_once()

    @rule(old=NAMES, new=NAMES)
    def rename(self, old: str, new: str) -> None:
        if (self.directory / old).exists():
            (self.directory / new).parent.mkdir(exist_ok=True)
            (self.directory / old).rename(self.directory / new)
        self.run_once()

    @rule(name=NAMES)
    def truncate(self, name: str) -> None:
        put(self.directory / name, b"\x7fELF")
        self.run_once()

    @rule(
        line=st.sampled_from(
            ["search built-in updates", "search extra updates", "exclude e.ko", "override a * kernel"]
        )
    )
    def configure(self, line: str) -> None:
        put(self.root / "conf/x.conf", f"{line}\n".encode())
        self.run_once()

    @rule(lines=st.lists(NAMES, max_size=3))
    def reorder(self, lines: list[str]) -> None:
        put(self.directory / "modules.order", "".join(f"{line}\n" for line in lines).encode())
        self.run_once()

    @rule(name=st.sampled_from(INPUTS))
    def lose_an_input(self, name: str) -> None:
        (self.directory / name).unlink(missing_ok=True)
        self.run_once()

    @rule(text=st.sampled_from([b"b.alias=x\0", b"b.alias=[\0", b""]))
    def build_in(self, text: bytes) -> None:
        put(self.directory / "modules.builtin.modinfo", text)
        self.run_once()

    @rule(name=st.sampled_from(["modules.dep", "modules.alias.bin", "modules.devname"]))
    def spoil_an_output(self, name: str) -> None:
        path = self.directory / name
        if path.exists():
            path.write_bytes(b"x" + path.read_bytes()[1:])
        self.run_once()

    @rule(name=st.sampled_from(["modules.dep.bin", "modules.symbols"]))
    def lose_an_output(self, name: str) -> None:
        (self.directory / name).unlink(missing_ok=True)
        self.run_once()

    def run_once(self) -> None:
        check(self.root, self.directory)


def _run() -> None:
    run_state_machine_as_test(
        Edits, settings=settings(max_examples=25, stateful_step_count=12, deadline=None)
    )


def test_any_sequence_of_edits() -> None:
    _run()


@pytest.mark.usefixtures("_settled")
def test_any_sequence_of_edits_when_time_stamps_are_trusted() -> None:
    _run()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    fields = {f"kernel/m{n}.ko": module(f"m{n}", f"alias=of-{n}", exports=[f"s{n}"]) for n in range(5)}
    return make_tree(tmp_path, fields)


@pytest.mark.usefixtures("_settled")
def test_only_what_changed_is_read_and_written(tmp_path: Path, tree: Path, read: list[str]) -> None:
    depmod(tmp_path)
    read.clear()
    before = {path.name: path.stat().st_ino for path in tree.glob("modules.*")}
    put(tree / "kernel/m3.ko", module("m3", "alias=another", exports=["s3"]))
    depmod(tmp_path)
    assert read == ["m3.ko"]
    after = {path.name: path.stat().st_ino for path in tree.glob("modules.*")}
    assert "alias another m3" in (tree / "modules.alias").read_text()
    kept = {name for name in before if before[name] == after[name]}
    assert {"modules.dep", "modules.symbols.bin", "modules.softdep"} <= kept


@pytest.mark.usefixtures("_settled")
def test_where_few_modules_changed_no_index_is_made_again(
    tmp_path: Path, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    depmod(tmp_path)

    def refuse(_entries: object) -> None:
        raise AssertionError("all of an index is made again")

    monkeypatch.setattr("ukmod.kmod.depmod.output.write_trie", refuse)
    changes = {
        "another alias": ("m3", module("m3", "alias=another", exports=["s3"])),
        "another symbol": ("m2", module("m2", "alias=of-2", exports=["t2"])),
        "a symbol that others need": ("m1", module("m1", exports=["s1", "late"], needs=["t2"])),
        "a new module": ("a", module("a", "alias=new", exports=["s0"], needs=["s3", "late"])),
        "no module": ("m4", b""),
    }
    for name, content in changes.values():
        if content:
            put(tree / f"kernel/{name}.ko", content)
        else:
            (tree / f"kernel/{name}.ko").unlink()
        check(tmp_path, tree)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of files that are read from here on."""
    names: list[str] = []

    def spy(path: str, *, crcs: bool = False) -> Facts:
        names.append(Path(path).name)
        return read_facts(path, crcs=crcs)

    for where in ("reader", "full"):
        monkeypatch.setattr(f"ukmod.kmod.depmod.{where}.read_facts", spy)
    return names


@pytest.mark.usefixtures("_settled")
@pytest.mark.parametrize("words", [["-w"], ["-n"], ["-P", "_"], ["-v"]])
def test_the_cache_of_modules_serves_runs_with_other_options(
    tmp_path: Path, tree: Path, read: list[str], words: list[str]
) -> None:
    depmod(tmp_path)
    put(tree / "kernel/m3.ko", module("m3", "alias=another", exports=["s3"]))
    read.clear()
    found = depmod(tmp_path, *words)
    assert read == ["m3.ko"]
    assert found == depmod(tmp_path, "--no-cache", *words)
    assert len(read) == 6


@pytest.mark.usefixtures("_settled")
def test_a_run_with_versions_reads_all_modules(tmp_path: Path, tree: Path, read: list[str]) -> None:
    """What is remembered has no CRCs."""
    depmod(tmp_path)
    (tmp_path / "symvers").write_text("0x1\tprintk\tvmlinux\tEXPORT_SYMBOL\n")
    read.clear()
    depmod(tmp_path, "-e", "-E", str(tmp_path / "symvers"))
    assert len(read) == 5


@pytest.mark.usefixtures("_settled")
def test_a_module_that_keeps_its_place_in_another_directory(tmp_path: Path, tree: Path) -> None:
    """Its entries are the same before and after, and yet went and came."""
    (tree / "modules.order").unlink()
    depmod(tmp_path)
    for name in ("m0", "m2", "m4"):
        (tree / "updates").mkdir(exist_ok=True)
        (tree / f"kernel/{name}.ko").rename(tree / f"updates/{name}.ko")
        check(tmp_path, tree)


@pytest.mark.usefixtures("_settled")
def test_modules_dep_is_newer_than_what_was_touched(tmp_path: Path, tree: Path) -> None:
    depmod(tmp_path)
    os.utime(tree / "modules.dep", (1, 1))
    depmod(tmp_path)
    assert (tree / "modules.dep").stat().st_mtime > 1


@pytest.mark.usefixtures("_settled")
@pytest.mark.parametrize("suffix", [f".run{suffix}" for suffix in cache.SUFFIXES])
@pytest.mark.parametrize("damage", ["cut", "flipped", "others", "empty", "gone", "another's"])
def test_damage_to_what_is_remembered_is_harmless(
    tmp_path: Path, tree: Path, suffix: str, damage: str
) -> None:
    depmod(tmp_path)
    (path,) = [path for path in (tmp_path / "cache/ukmod").iterdir() if path.name.endswith(suffix)]
    data = bytearray(path.read_bytes())
    if damage == "cut":
        path.write_bytes(data[:-3])
    elif damage == "flipped":
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    elif damage == "others":
        path.chmod(0o666)
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "gone":
        path.unlink()
    else:  # a run in between, of which the other file is left
        put(tree / "kernel/m1.ko", module("m1", "alias=later"))
        depmod(tmp_path)
        path.write_bytes(data)
    put(tree / "kernel/m0.ko", module("m0", "alias=new"))
    check(tmp_path, tree)


def test_no_cache_leaves_nothing(tmp_path: Path, tree: Path) -> None:
    depmod(tmp_path, "--no-cache")
    assert (tree / "modules.dep").exists()
    assert not (tmp_path / "cache").exists()


def test_what_is_remembered_of_many_trees_does_not_grow_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ukmod.kmod.depmod.incremental.cache._TREES", 2)
    for name in "abcd":
        root = tmp_path / name
        make_tree(root, {"kernel/a.ko": (("one",), ())})
        depmod(root)
    left = Counter(path.name.partition(".")[2] for path in (tmp_path / "cache/ukmod").iterdir())
    assert left == dict.fromkeys([f"run{suffix}" for suffix in cache.SUFFIXES], 2)
