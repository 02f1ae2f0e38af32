"""/sbin/modprobe of the emulated machine: kmod's, and parameters in a request unless it is strict."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.golden import modules
from tests.kernel.conftest import layouts

from ukmod.kernel.api import Kernel
from ukmod.userland import Programs


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A directory of modules, as a user has them after make."""
    for name in ("ok_dep", "exporter", "uses_exporter", "ret_enodev"):
        (tmp_path / f"{name}.ko").symlink_to(modules()[name])
    return tmp_path


@pytest.fixture
def request_module(tree: Path) -> Callable[..., tuple[int, str, list[str]]]:
    def request(name: str, *, strict: bool = False) -> tuple[int, str, list[str]]:
        results: list[int] = []
        with Kernel(types=layouts(), tree=tree, strict_modprobe=strict) as k:
            k.start("asker", lambda core: results.append(core.requests.request(name)))
            k.run(10)
            return results[0], k.dmesg(), list(k.modules)

    return request


def test_a_name(request_module: Callable[..., tuple[int, str, list[str]]]) -> None:
    result, _, loaded = request_module("uses_exporter")
    assert (result, loaded) == (0, ["uses_exporter", "exporter"])


def test_parameters_in_the_same_string(request_module: Callable[..., tuple[int, str, list[str]]]) -> None:
    result, log, loaded = request_module("ok_dep x=5")
    assert (result, loaded) == (0, ["ok_dep"])
    assert "ok_dep: init, x=5" in log


def test_which_are_part_of_the_name_to_a_strict_one(
    request_module: Callable[..., tuple[int, str, list[str]]],
) -> None:
    result, _, loaded = request_module("ok_dep x=5", strict=True)
    assert (result, loaded) == (1 << 8, [])


@pytest.mark.parametrize("name", ["nosuch", "", " ", "-r", "../../etc/passwd"])
def test_no_such_module(request_module: Callable[..., tuple[int, str, list[str]]], name: str) -> None:
    result, _, loaded = request_module(name)
    assert result >> 8 in (0, 1)
    assert loaded == []


def test_a_module_that_refuses(request_module: Callable[..., tuple[int, str, list[str]]]) -> None:
    assert request_module("ret_enodev")[0] == 1 << 8


def test_as_a_command(tree: Path) -> None:
    with Kernel(types=layouts(), tree=tree) as k:
        assert k.modprobe("uses_exporter").status == 0
        assert k.modprobe("-r", "uses_exporter").status == 0
        assert not k.modules
        missing = k.modprobe("nosuch", check=False)
        assert missing.status == 1
        assert "nosuch not found" in missing.output


class TestPrograms:
    """What execve() finds."""

    def test_what_is_there_and_what_is_not(self) -> None:
        programs = Programs()
        programs.install("/sbin/helper", lambda _: 0)
        programs.install("/etc/motd", None)
        assert callable(programs.exec("/sbin/helper"))
        with pytest.raises(PermissionError):
            programs.exec("/etc/motd")
        with pytest.raises(PermissionError):
            programs.exec("/sbin")
        for path in ("/sbin/help", "", "helper"):
            with pytest.raises(FileNotFoundError):
                programs.exec(path)
        programs.remove("/sbin/helper")
        with pytest.raises(FileNotFoundError):
            programs.exec("/sbin/helper")
