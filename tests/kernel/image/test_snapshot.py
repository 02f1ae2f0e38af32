"""A machine that was taken up from a snapshot is the machine that was brought up: in nothing can one tell."""

from __future__ import annotations

import itertools
import os
import pickle
import shutil
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests import normalise
from tests.cases import CASES
from tests.faults import ERRORS, failing
from tests.golden import modules
from tests.kernel import emulator
from tests.limits import largest_file
from tests.real.debian import Debian
from tests.steps import Case

from ukmod.errors import LoadError
from ukmod.kernel.api import Kernel
from ukmod.kernel.image import snapshot
from ukmod.kernel.trees import load_order, open_tree
from ukmod.kmod.tree import Tree
from ukmod.machine.image import cache
from ukmod.machine.image.image import KernelImage
from ukmod.machine.memory import Memory

pytestmark = pytest.mark.real

what_it_is = snapshot._program  # before it is replaced, below
EVERY = 110
"""One of so many of Debian's modules is tried in both machines."""


@contextmanager
def nothing_is_brought_up() -> Iterator[None]:
    """Here a kernel comes from a snapshot, or not at all."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ukmod.kernel.image.bringup.bring_up", None)
        yield


@pytest.fixture(scope="module", autouse=True)
def kept(kernel_package: Debian, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The user's cache, with a snapshot in it; its path."""
    directory = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(snapshot, "_program", lambda: "this program")  # whoever edits it while tests run
        patch.setenv("XDG_CACHE_HOME", str(directory))
        with Kernel(image=kernel_package.vmlinuz) as k:
            k.boot()
        (path,) = directory.glob("ukmod/images/*/snapshot-*")
        yield path


@pytest.fixture(scope="module")
def tree(kernel_package: Debian) -> Tree:
    return open_tree(kernel_package.modules)


@pytest.fixture(scope="module")
def fresh(kernel_package: Debian, tree: Tree) -> Iterator[Kernel]:
    """A machine that was brought up."""
    with Kernel(image=kernel_package.vmlinuz, tree=tree, strict_modprobe=True, snapshot=False) as k:
        k.boot()
        yield k


@pytest.fixture(scope="module")
def taken_up(kernel_package: Debian, tree: Tree) -> Iterator[Kernel]:
    """A machine from the snapshot."""
    with Kernel(image=kernel_package.vmlinuz, tree=tree, strict_modprobe=True) as k:
        with nothing_is_brought_up():
            k.boot()
        yield k


def in_copy(k: Kernel, work: Callable[[Kernel], object]) -> object:
    """What ``work`` returns in a copy of the machine, which goes with it."""
    reader, writer = os.pipe()
    if (pid := os.fork()) == 0:
        try:
            k.core.cpu.after_fork()
            with os.fdopen(writer, "wb") as file:
                file.write(pickle.dumps(work(k)))
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        data = file.read()
    os.waitpid(pid, 0)
    return pickle.loads(data) if data else "the process died"


def everything(k: Kernel) -> dict[str, object]:
    """All that one can see of a machine, its RAM to the last byte included."""
    core = k.core
    runs = core.memory.content()
    return {
        "log": k.dmesg(raw=True),
        "time": core.clock.now,
        "tasks": [(task.pid, core.tasks.comm(task), core.tasks.state(task)) for task in core.tasks.all()],
        "findings": [str(found) for found in (*k.oopses, *k.warnings, *k.reports, *k.leaks())],
        "requests": k.requests,
        "modules": [(module.name, module.address, module.state.name) for module in k.modules.values()],
        "ram": [(run.frame, zlib.crc32(core.memory.view[run.frame : run.end])) for run in runs],
    }


def test_a_machine_from_a_snapshot_is_the_same_machine(fresh: Kernel, taken_up: Kernel) -> None:
    assert everything(taken_up) == everything(fresh)


def test_time_passes_alike(fresh: Kernel, taken_up: Kernel) -> None:
    """Timers fire, and the kernel threads that sleep on them go on where they were."""

    def five_minutes(k: Kernel) -> object:
        k.run(300)
        return everything(k)

    assert in_copy(taken_up, five_minutes) == in_copy(fresh, five_minutes)


def use(name: str, k: Kernel) -> dict[str, object]:
    """Load a module with what it needs, let time pass, and unload it; all that came of it."""
    assert k.tree is not None
    said = ""
    try:
        for file in load_order(k.tree, name):
            k.insmod(k.tree.files.real(k.tree.path(file)))
        k.run(1)
        k.rmmod(name.replace("-", "_"))
    except LoadError as error:
        said = str(error)
    return everything(k) | {"said": said}


def test_modules_do_the_same_in_it(fresh: Kernel, taken_up: Kernel, tree: Tree) -> None:
    names = sorted(tree.module_names())[::EVERY]
    assert len(names) > 30
    for name in names:
        assert in_copy(taken_up, partial(use, name)) == in_copy(fresh, partial(use, name)), name


@pytest.mark.parametrize("name", ["ok_dep", "slab", "work"])
def test_a_module_is_loaded_and_unloaded_without_a_look_into_the_image(
    kernel_package: Debian, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Unpacking it and reading its types would take longer than all the rest."""

    def refuse(_: KernelImage) -> None:
        raise AssertionError("the image is read")

    monkeypatch.setattr(KernelImage, "vmlinux", property(refuse))
    with Kernel(image=kernel_package.vmlinuz) as k, nothing_is_brought_up():
        k.insmod(modules()[name])
        k.rmmod(name)
        assert k.core.image is not None


@pytest.mark.parametrize("case", CASES[::4], ids=lambda case: case.name)
def test_cases_come_to_the_same_in_it(case: Case, fresh: Kernel, taken_up: Kernel, tmp_path: Path) -> None:
    def run(k: Kernel) -> object:
        k.tree = emulator.tree(tmp_path / str(os.getpid()), case.config)
        for program in case.programs:
            k.install(program.path, emulator._main(program) if program.executable else None)
        text = normalise.text(case, tuple(emulator._outcomes(k, case)))
        return text, {what: found for what, found in everything(k).items() if what != "requests"}

    assert in_copy(taken_up, run) == in_copy(fresh, run)


def test_another_process_takes_it_up(kernel_package: Debian, fresh: Kernel) -> None:
    """One that has no object of the process that has brought it up."""
    script = """
import pickle, sys
from tests.kernel.image import test_snapshot as t
from ukmod.kernel.image import snapshot
snapshot._program = lambda: "this program"
with t.Kernel(image=sys.argv[1]) as k, t.nothing_is_brought_up():
    k.boot()
    k.run(600)
    sys.stdout.buffer.write(pickle.dumps(t.everything(k)))
"""
    found = subprocess.run(
        [sys.executable, "-c", script, str(kernel_package.vmlinuz)], check=True, capture_output=True
    )

    def ten_minutes(k: Kernel) -> object:
        k.run(600)
        return everything(k)

    assert pickle.loads(found.stdout) == in_copy(fresh, ten_minutes)


def test_what_the_user_asks_for_is_as_without(kernel_package: Debian) -> None:
    """The seed, programs and exports are of the machine that is taken up, not of the one that was kept."""
    results = []
    for keep in (True, False):
        with Kernel(image=kernel_package.vmlinuz, seed=7, snapshot=keep) as k:
            k.export(lambda: 42, name="answer", new=True)
            k.core.processes.look_up("/sbin/modprobe")
            results.append(
                (k.call("get_random_u64", returns="u64"), k.address("answer"), k.core.sched._random is None)
            )
    assert results[0] == results[1]
    assert results[0][2] is False


def test_a_snapshot_is_of_the_options(kernel_package: Debian, kept: Path) -> None:
    with Kernel(image=kernel_package.vmlinuz, cmdline="quiet") as k:
        k.boot()
        assert k.read("/proc/cmdline") == "quiet\n"
    others = set(kept.parent.glob("snapshot-*")) - {kept}
    assert len(others) == 1
    others.pop().unlink()


# -- snapshots that are none --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "what", ["the magic", "the state", "the RAM", "half of it", "one byte more", "nothing"]
)
def test_one_that_is_not_whole_counts_for_none(
    kernel_package: Debian, kept: Path, tmp_path: Path, what: str
) -> None:
    good = kept.read_bytes()
    bad = bytearray(good)
    match what:
        case "the magic":
            bad[0] ^= 1
        case "the state":
            bad[1000] ^= 1
        case "the RAM":
            bad[-20 << 20] ^= 1
        case "half of it":
            del bad[len(bad) // 2 :]
        case "one byte more":
            bad.append(0)
        case "nothing":
            bad.clear()
    there = tmp_path / kept.parent.name / kept.name
    shutil.copytree(kept.parent, there.parent)
    there.write_bytes(bad)
    image = KernelImage(str(kernel_package.vmlinuz))
    assert snapshot.load(cache.Cache(str(there.parent)), kept.name, image) is None
    there.write_bytes(good)
    k = snapshot.load(cache.Cache(str(there.parent)), kept.name, image)
    assert k is not None
    k.close()


def test_the_ram_is_checked_once_and_again_when_the_file_has_changed(
    kernel_package: Debian, kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = tmp_path / kept.parent.name / kept.name
    shutil.copytree(kept.parent, there.parent)
    now, checksum, checked = time.time_ns, snapshot._checksum, []

    def counted(*arguments: Any) -> int:
        checked.append(arguments)
        return checksum(*arguments)

    def is_valid() -> bool:
        image = KernelImage(str(kernel_package.vmlinuz))
        k = snapshot.load(cache.Cache(str(there.parent)), kept.name, image)
        if k is not None:
            k.close()
        return k is not None

    monkeypatch.setattr(time, "time_ns", lambda: now() + 10 * 10**9)  # the file has not just been written
    monkeypatch.setattr(snapshot, "_checksum", counted)
    assert [is_valid(), is_valid()] == [True, True]
    assert len(checked) == 1
    times = there.stat()
    with there.open("r+b") as file:
        file.seek(-20 << 20, os.SEEK_END)
        file.write(b"\xa5" * 4096)
    os.utime(there, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert [is_valid(), len(checked)] == [False, 2]


@pytest.mark.parametrize("place", ["another image/{name}", "{image}/snapshot-of-other-options"])
def test_one_in_the_place_of_another_counts_for_none(
    kernel_package: Debian, kept: Path, tmp_path: Path, place: str
) -> None:
    there = tmp_path / place.format(image=kept.parent.name, name=kept.name)
    shutil.copytree(kept.parent, there.parent)
    (there.parent / kept.name).rename(there)
    image = KernelImage(str(kernel_package.vmlinuz))
    assert snapshot.load(cache.Cache(str(there.parent)), there.name, image) is None


@pytest.mark.parametrize("mode", [0o620, 0o602])
def test_one_that_others_may_write_counts_for_none(kernel_package: Debian, kept: Path, mode: int) -> None:
    image = KernelImage(str(kernel_package.vmlinuz))
    kept.chmod(mode)
    assert snapshot.load(cache.Cache(str(kept.parent)), kept.name, image) is None
    kept.chmod(0o600)


def test_one_of_another_user_counts_for_none(
    kernel_package: Debian, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = KernelImage(str(kernel_package.vmlinuz))
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    assert snapshot.load(cache.Cache(str(kept.parent)), kept.name, image) is None


def test_a_damaged_one_is_made_again(kernel_package: Debian, kept: Path) -> None:
    damaged = kept.with_name("damaged")  # a file of its own: other machines have mapped the good one
    damaged.write_bytes(kept.read_bytes()[:-1])
    damaged.chmod(0o600)
    damaged.replace(kept)
    with Kernel(image=kernel_package.vmlinuz) as k:
        k.boot()
    with Kernel(image=kernel_package.vmlinuz) as k, nothing_is_brought_up():
        k.boot()


def test_a_changed_program_neither_uses_nor_keeps_one(
    kernel_package: Debian, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = set(kept.parent.iterdir())
    monkeypatch.setattr(snapshot, "_program", lambda: None)
    with Kernel(image=kernel_package.vmlinuz) as k:
        k.boot()
    assert set(kept.parent.iterdir()) == before


class Planted:
    """What reading a pickle must never do."""

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, ("/tmp/planted-code-ran",)


def test_a_planted_snapshot_is_never_executed(
    kernel_package: Debian, kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even where the key was planted with it: an archive of the whole cache, unpacked by the user."""
    there = tmp_path / kept.parent.name
    shutil.copytree(kept.parent, there)
    planted = cache.Cache(str(there))
    mac = planted.mac(kept.name)
    assert mac is not None
    memory = Memory(8 << 20)
    assert planted.write(kept.name, snapshot._parts(memory, memoryview(pickle.dumps(Planted())), mac, []))
    memory.close()
    made: list[str] = []
    monkeypatch.setattr(os, "mkdir", made.append)
    assert snapshot.load(planted, kept.name, KernelImage(str(kernel_package.vmlinuz))) is None
    assert made == []


def test_a_program_is_what_its_sources_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "IMPORTED", float("inf"))
    assert what_it_is() == what_it_is() is not None
    monkeypatch.setattr(snapshot, "IMPORTED", 0.0)
    assert what_it_is() is None  # all of them were changed since


def test_two_that_write_at_once(fresh: Kernel, kernel_package: Debian, kept: Path) -> None:
    there = cache.Cache(str(kept.parent / "two"))
    with ThreadPoolExecutor(2) as pool:
        assert all(pool.map(lambda _: snapshot.save(fresh.core, there, "snapshot-x"), range(2)))
    image = KernelImage(str(kernel_package.vmlinuz))
    k = snapshot.load(there, "snapshot-x", image)
    assert k is not None
    k.close()
    assert sorted(os.listdir(there.directory)) == ["key", "snapshot-x"]


def test_a_disk_that_is_full_keeps_nothing(fresh: Kernel, kept: Path) -> None:
    there = cache.Cache(str(kept.parent / "full"))

    def keep(k: Kernel) -> object:
        with largest_file(1 << 20):
            return snapshot.save(k.core, there, "snapshot-x")

    assert in_copy(fresh, keep) is False
    assert os.listdir(there.directory) == ["key"]


def test_whatever_call_fails_a_snapshot_is_whole_or_not_there(
    fresh: Kernel, kernel_package: Debian, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is not there is made again; the machine that was to be saved is none the worse."""
    parts = snapshot._parts
    written: list[list[bytes]] = []

    def same_parts(*arguments: Any) -> Iterator[bytes | memoryview]:
        """The RAM in one part: there are hundreds, whose writes are all alike."""
        head, mac, state, gap, *ram = parts(*arguments)
        written.append([bytes(head), bytes(mac), bytes(state), bytes(gap), b"".join(ram)])
        return iter(written[-1])

    monkeypatch.setattr(snapshot, "_parts", same_parts)
    image = KernelImage(str(kernel_package.vmlinuz))
    failed = set()
    for number in itertools.count():
        there = cache.Cache(str(kept.parent / "failing"))
        with failing(number, ERRORS[number % len(ERRORS)]) as calls:
            done = snapshot.save(fresh.core, there, "snapshot-x")
        failed |= {*calls}
        assert not [name for name in os.listdir(kept.parent) if name.startswith(".")]
        found = Path(there.directory, "snapshot-x")
        assert done is found.exists() or calls, calls
        if found.exists() and (k := snapshot.load(there, found.name, image)) is not None:
            k.close()
        else:
            assert not done
        if not calls:
            break
        shutil.rmtree(there.directory, ignore_errors=True)
    assert failed >= {"open", "fstat", "write", "close", "replace"}


def test_whatever_call_fails_a_machine_is_taken_up_or_not(
    kernel_package: Debian, kept: Path, tmp_path: Path
) -> None:
    image, there = KernelImage(str(kernel_package.vmlinuz)), cache.Cache(str(tmp_path / kept.parent.name))
    shutil.copytree(kept.parent, there.directory)
    for number in itertools.count():
        with failing(number, ERRORS[number % len(ERRORS)]) as calls:
            k = snapshot.load(there, kept.name, image)
        if k is not None:
            k.close()
        if not calls:
            break
        shutil.copy2(kept.parent / "key", Path(there.directory, "key"))
    assert k is not None
    assert number > 8


def test_a_cache_that_cannot_be_made_is_done_without(fresh: Kernel, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert not snapshot.save(fresh.core, cache.Cache(str(tmp_path / "file")), "snapshot-x")


def test_only_the_latest_are_kept(tmp_path: Path) -> None:
    there = cache.Cache(str(tmp_path))
    assert there.prepare()
    for number in range(snapshot.KEPT + 3):
        there.write(f"snapshot-{number}", (b"content",))
        os.utime(tmp_path / f"snapshot-{number}", (number, number))
    (tmp_path / ".snapshot-0.left").write_text("by a writer that was killed")
    os.utime(tmp_path / ".snapshot-0.left", (0, 0))
    there.trim("snapshot-", snapshot.KEPT)
    latest = [f"snapshot-{number}" for number in range(3, snapshot.KEPT + 3)]
    assert sorted(os.listdir(tmp_path)) == ["key", *latest]


def test_a_machine_that_is_not_at_rest_is_not_kept(fresh: Kernel, kept: Path) -> None:
    def busy(k: Kernel) -> object:
        k.core.sched.wake_new(k.core.tasks.create("busy", int))
        return snapshot.save(k.core, cache.Cache(str(kept.parent)), "snapshot-busy")

    assert in_copy(fresh, busy) is False
