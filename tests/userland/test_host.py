"""The emulated kernel as kmod's tools see it, and that nothing of the machine below it is in sight."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from errno import ENODEV, ENOENT
from pathlib import Path
from typing import TypeVar

import pytest
from tests.golden import modules
from tests.kernel.conftest import layouts

from ukmod.kernel.api import Kernel
from ukmod.kernel.trees import open_tree
from ukmod.kmod.tree import Tree
from ukmod.userland import Process
from ukmod.userland.host import ProcessHost

T = TypeVar("T")


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    for name in ("ok_dep", "exporter", "uses_exporter", "ret_enodev"):
        (tmp_path / f"{name}.ko").symlink_to(modules()[name])
    return open_tree(tmp_path)


@pytest.fixture
def machine() -> Iterator[Kernel]:
    with Kernel(types=layouts()) as k:
        yield k


def ask(machine: Kernel, question: Callable[[ProcessHost], T], tree: Tree | None = None) -> T:
    """What a tool in a process of the machine gets."""
    answers: list[T] = []

    def main(process: Process) -> int:
        answers.append(question(ProcessHost(process, tree)))
        return 0

    machine.install("/bin/tool", main)
    machine.execute("/bin/tool", env={"LANG": "C"})
    return answers[0]


class TestTheMachineBelow:
    """A module's helper is hostile until shown otherwise: it sees what the user gave it, and no more."""

    @pytest.mark.parametrize("path", ["/etc/passwd", "/proc/version", "/", "."])
    def test_the_host_systems_files_are_out_of_sight(self, machine: Kernel, path: str) -> None:
        def look(host: ProcessHost) -> list[int | None]:
            errors = []
            for reach in (host.files.read, host.files.listdir, host.files.stat):
                try:
                    reach(path)
                except OSError as error:
                    errors.append(error.errno)
            return errors

        assert ask(machine, look) == [ENOENT] * 3
        assert not os.path.lexists(ask(machine, lambda host: host.files.real(path)))

    def test_the_host_systems_environment_is_out_of_sight(
        self, machine: Kernel, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SECRET", "1")
        environ = dict(ask(machine, lambda host: host.environ))
        assert environ == {"HOME": "/", "PATH": "/sbin:/usr/sbin:/bin:/usr/bin", "LANG": "C"}

    def test_what_a_tool_changes_of_its_own_stays_there(self, machine: Kernel) -> None:
        ask(machine, lambda host: host.environ.update(MODPROBE_OPTIONS="-v"))
        assert "MODPROBE_OPTIONS" not in os.environ
        assert "MODPROBE_OPTIONS" not in ask(machine, lambda host: host.environ)

    def test_the_host_systems_directory_and_kernel_are_out_of_sight(self, machine: Kernel) -> None:
        assert ask(machine, lambda host: host.getcwd()) == "/"
        assert ask(machine, lambda host: host.release()) == machine.core.release


class TestModules:
    def test_what_is_loaded(self, machine: Kernel, tree: Tree) -> None:
        machine.insmod(modules()["exporter"])
        machine.insmod(modules()["uses_exporter"])
        assert ask(machine, lambda host: host.proc_modules()).splitlines()[0].startswith("uses_exporter ")
        assert ask(machine, lambda host: host.module_attribute("exporter", "refcnt")).strip() == "1"
        assert ask(machine, lambda host: host.module_holders("exporter")) == ["uses_exporter"]
        assert ".text" in ask(machine, lambda host: host.module_sections("exporter"))
        assert ask(machine, lambda host: host.has_module_directory("exporter"))
        assert not ask(machine, lambda host: host.has_module_directory("ok_dep"))

    def test_a_file_of_the_tree_is_loaded(self, machine: Kernel, tree: Tree, tmp_path: Path) -> None:
        path = str(tmp_path / "ok_dep.ko")
        ask(machine, lambda host: host.finit_module(host.open_module(path), "", 0), tree)
        assert "ok_dep" in machine.modules
        ask(machine, lambda host: host.delete_module("ok_dep", 0), tree)
        assert not machine.modules

    def test_a_module_is_loaded_from_bytes(self, machine: Kernel) -> None:
        image = modules()["ok_dep"].read_bytes()
        ask(machine, lambda host: host.init_module(image, ""))
        assert "ok_dep" in machine.modules

    @pytest.mark.parametrize(("name", "errno"), [("ret_enodev", ENODEV), ("none", ENOENT)])
    def test_what_fails_is_an_oserror(
        self, machine: Kernel, tree: Tree, tmp_path: Path, name: str, errno: int
    ) -> None:
        def attempt(host: ProcessHost) -> int | None:
            try:
                host.finit_module(host.open_module(str(tmp_path / f"{name}.ko")), "", 0)
            except OSError as error:
                return error.errno
            return 0

        assert ask(machine, attempt, tree) == errno

    def test_without_a_tree_there_is_an_empty_one(self, machine: Kernel) -> None:
        tree = ask(machine, lambda host: host.open_tree("/lib/modules/6.1"))
        assert tree.dirname == "/lib/modules/6.1"
        with pytest.raises(FileNotFoundError):
            tree.files.read("/lib/modules/6.1/modules.dep")


class TestTheRest:
    def test_all_that_it_writes_is_its_output(self, machine: Kernel) -> None:
        def main(process: Process) -> int:
            host = ProcessHost(process, None)
            host.stdout.write("out\n")
            host.stderr.write("err\n")
            host.openlog("modprobe")
            host.syslog(3, "logged")
            return 2

        machine.install("/bin/tool", main)
        finished = machine.execute("/bin/tool")
        assert (finished.status, finished.output) == (2, "out\nerr\nlogged\n")

    def test_time_is_the_machines(self, machine: Kernel) -> None:
        def nap(host: ProcessHost) -> float:
            before = host.monotonic()
            host.sleep(100)
            return host.monotonic() - before

        assert 100 <= ask(machine, nap) < 100.1

    def test_commands_run_in_the_machine(self, machine: Kernel) -> None:
        ran: list[tuple[str, ...]] = []
        machine.install("/bin/note", lambda process: ran.append(tuple(process.argv)) or 3)
        assert ask(machine, lambda host: host.system("/bin/note a 'b c'")) == 3 << 8
        assert ran == [("/bin/note", "a", "b c")]
