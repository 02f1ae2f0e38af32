"""depmod killed before each of its changes to the file system, one after the other.

The calls are counted in a child that ends itself by SIGKILL at the one in turn. Whatever it leaves, each file
is the old or the new one, readers get the old or the new answer, and the next run cleans up.
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.elfwriter import module
from tests.faults import killed_at
from tests.kmod.depmod.trees import RELEASE, make_tree
from tests.limits import largest_file

from ukmod.errors import UkmodError
from ukmod.kmod import Context, Tree, plan
from ukmod.kmod.depmod import publish
from ukmod.kmod.depmod.facts import Facts, read_facts
from ukmod.kmod.linux import LinuxHost
from ukmod.kmod.tools import depmod

CHANGES = ("open", "write", "fchmod", "fdatasync", "close", "rename", "unlink", "mkdir", "utime")

OLD = {
    "kernel/base.ko": module("base", "alias=pci:v1*", exports=["base"]),
    "kernel/moved.ko": module("moved", "alias=pci:v2*", exports=["moved"], needs=["base"]),
    "kernel/gone.ko": module("gone", "alias=pci:v3*", needs=["moved"]),
    "kernel/soft.ko": module("soft", "alias=pci:v6*", "softdep=pre: base"),
    "kernel/both.ko": module("both", "softdep=pre: base", needs=["moved"]),
}
NEW = {
    "kernel/base.ko": module("base", "alias=pci:v1*", "alias=pci:v5*", exports=["base"]),
    "kernel/moved.ko": module("moved", "alias=pci:v2*", exports=["moved"]),
    "kernel/come.ko": module("come", "alias=pci:v4*", exports=["come"], needs=["moved", "base"]),
    "kernel/soft.ko": module("soft", "alias=pci:v6*", "softdep=pre: come"),
    "kernel/both.ko": module("both", "softdep=pre: moved", needs=["base"]),
}
ASKED = (
    *("base", "moved", "gone", "come", "soft"),
    *("pci:v1", "pci:v2", "pci:v3", "pci:v4", "pci:v5", "pci:v6", "symbol:come", "crypto-x"),
)
MIXED = "both"
"""Its dependencies and its soft dependencies change, which are in two files: the window that is left."""


class Place:
    """A root whose modules change, and the cache of a run: always at the same paths."""

    def __init__(self, directory: Path) -> None:
        self.root = directory / "root"
        self.tree = self.root / "lib/modules" / RELEASE
        self.cache = directory / "cache"
        self.kept = directory / "kept"

    def run(self, *words: str) -> int:
        """Run depmod in this process."""
        host = LinuxHost()
        host.environ = {"XDG_CACHE_HOME": str(self.cache)}
        arguments = ["depmod", *words, "-b", str(self.root), "-C", str(self.root / "none"), RELEASE]
        return depmod.main(arguments, host)

    def keep(self) -> None:
        """Keep the present state for :meth:`restore`."""
        for name in ("root", "cache"):
            shutil.copytree(self.root.parent / name, self.kept / name)

    def restore(self) -> None:
        for path in (self.root, self.cache):
            shutil.rmtree(path, ignore_errors=True)
            shutil.copytree(self.kept / path.name, path)

    def files(self) -> dict[str, bytes]:
        """Return depmod's files, and what else there is beside the modules."""
        return {path.name: path.read_bytes() for path in self.tree.iterdir() if path.is_file()}

    def answers(self) -> dict[str, str]:
        """Return what modprobe would do for each name."""
        context = Context.open(Tree.open(self.root, RELEASE))
        return {name: _answer(context, name) for name in (*ASKED, MIXED)}


def _answer(context: Context, name: str) -> str:
    try:
        return str(plan(context, name))
    except UkmodError as error:
        return type(error).__name__


@pytest.fixture(params=["whole run", "incremental run"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """A tree with depmod's files, whose modules have changed since."""
    place = Place(tmp_path)
    words = ["--no-cache"] if request.param == "whole run" else []
    make_tree(place.root, OLD)
    place.cache.mkdir()
    assert place.run(*words) == 0
    (place.tree / "kernel/gone.ko").unlink()
    for name, content in NEW.items():
        (place.tree / name).write_bytes(content)
    place.keep()
    return place


def kill_at(number: int, work: Callable[[], object]) -> bool:
    """Do some work in a child that is killed before its change of that number; False if it has fewer."""

    def counted() -> None:
        publish._datasync = os.fdatasync
        work()

    return killed_at(number, counted, CHANGES)


def killed(place: Place, *words: str) -> Iterator[int]:
    """Yield the number of each change, with the place as a run that was killed before it left it."""
    for number in itertools.count():
        place.restore()
        if not kill_at(number, lambda: place.run(*words)):
            assert number > 80, "all changes are counted"
            return
        yield number


def test_whenever_it_is_killed_readers_get_old_or_new_answers_and_the_next_run_cleans_up(
    place: Place,
) -> None:
    words = [] if list(place.cache.iterdir()) else ["--no-cache"]
    old, old_answers = place.files(), place.answers()
    place.run(*words)
    new, new_answers = place.files(), place.answers()
    different = [name for name in new if old[name] != new[name]]
    assert len(different) > 5
    assert all(old_answers[name] != new_answers[name] for name in ("gone", "come", "soft", "pci:v5", MIXED))
    states = set()
    for number in killed(place, *words):
        found, answers = place.files(), place.answers()
        wholes = {name: content for name, content in found.items() if not name.startswith(".")}
        assert wholes.keys() == old.keys()
        assert all(content in (old[name], new[name]) for name, content in wholes.items()), number
        states.add(tuple(name for name in different if found[name] == new[name]))
        for name in ASKED:
            assert answers[name] in (old_answers[name], new_answers[name]), (number, name)
        if found["modules.dep.bin"] == new["modules.dep.bin"]:
            paths = [word for answer in answers.values() for word in answer.split() if word.startswith("/")]
            assert all(map(os.path.exists, paths)), number
        assert place.run(*words) == 0
        assert place.files() == new, number
        assert [path.name for path in place.cache.rglob(".*")] == [], number
    assert len(states) == 1 + len(different), "it was killed between any two renames"


@pytest.mark.parametrize("size", [0, 30, 200, 300])
def test_files_that_may_not_grow_leave_the_old_set(place: Place, size: int) -> None:
    """As on a full disk: write(2) fails, in the first file or a later one."""
    before = place.files()

    def work() -> None:
        with largest_file(size):
            if place.run("--no-cache") != 1:
                os.kill(os.getpid(), signal.SIGKILL)

    assert max(map(len, before.values())) > size
    assert not kill_at(-1, work)
    assert place.files() == before


def test_a_module_that_changes_while_it_is_read_is_read_again_by_the_next_run(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_and_change(path: str, *, crcs: bool = False) -> Facts:
        facts = read_facts(path, crcs=crcs)
        if path.endswith("/base.ko"):
            Path(path).write_bytes(module("base", "alias=pci:v7*", exports=["base"]))
        return facts

    with monkeypatch.context() as patch:
        patch.setattr("ukmod.kmod.depmod.full.read_facts", read_and_change)
        patch.setattr("ukmod.kmod.depmod.reader.read_facts", read_and_change)
        assert place.run() == 0
    assert b"pci:v7" not in place.files()["modules.alias"]
    assert place.run() == 0
    assert b"pci:v7" in place.files()["modules.alias"]


@pytest.mark.real
@pytest.mark.parametrize("renamed", [1, 3, 7])
def test_kmod_s_depmod_leaves_a_mixed_set_and_a_temporary_file(tmp_path: Path, renamed: int) -> None:
    """Documented as a difference; a kmod that does better shows up here."""
    depmod_path, strace = shutil.which("depmod", path="/sbin:/usr/sbin"), shutil.which("strace")
    if depmod_path is None or strace is None:
        pytest.skip("apt-get install kmod strace")
    tree = make_tree(tmp_path, OLD)
    command = [depmod_path, "-b", str(tmp_path), "-C", str(tmp_path / "none"), RELEASE]
    subprocess.run(command, check=True)
    before = {path.name: path.stat().st_ino for path in tree.iterdir()}
    inject = [
        "-qq",
        "-e",
        "trace=renameat",
        "-e",
        f"inject=renameat:signal=KILL:when={renamed + 1}",
    ]
    subprocess.run([strace, *inject, *command], check=False, stderr=subprocess.DEVNULL)
    after = {path.name: path.stat().st_ino for path in tree.iterdir()}
    assert sum(before[name] != after[name] for name in before) in (renamed, renamed + 1)
    if set(after) > set(before):  # killed before the rename, and not behind it
        subprocess.run(command, check=True)
        assert {path.name for path in tree.iterdir()} == set(after), "the next run leaves it there"
