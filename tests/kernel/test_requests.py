"""What is recorded of a request_module(): who asked, for what, what modprobe made of it, what came of it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from tests.golden import modules

from ukmod.kernel.api import Kernel
from ukmod.kernel.trace import Request
from ukmod.userland import Process

ASK = "/sys/module/rm_call/parameters/ask"
"""A parameter of rm_call: it requests the module whose name is written there."""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("rm_call", "exporter", "uses_exporter", "ret_enodev", "ok_dep"):
        shutil.copy(modules()[name], tmp_path)
    return tmp_path


def request(tree: Path, params: str) -> Request:
    """Have rm_call make its one request, and let time pass."""
    with Kernel(tree=tree) as k:
        k.insmod(tree / "rm_call.ko", params)
        k.run(1)
        (made,) = k.requests
        return made


@pytest.mark.parametrize("wait", [True, False])
def test_a_module_and_what_it_needs(tree: Path, wait: bool) -> None:
    made = request(tree, f"name=uses_exporter nowait={int(not wait)}")
    assert (made.comm, made.name, made.wait, made.result) == ("insmod", "uses_exporter", wait, 0)
    assert re.fullmatch(r"ask\S*\+0x\w+/0x\w+ \[rm_call\]", made.caller)
    assert made.resolved == (f"{tree}/exporter.ko", f"{tree}/uses_exporter.ko")
    assert made.loaded == ("exporter", "uses_exporter")


@pytest.mark.parametrize("wait", [True, False])
def test_what_modprobe_finds_may_refuse(tree: Path, wait: bool) -> None:
    made = request(tree, f"name=ret_enodev nowait={int(not wait)}")
    assert (made.resolved, made.loaded) == ((f"{tree}/ret_enodev.ko",), ())
    assert made.result == (256 if wait else 0)


def test_a_request_for_an_unknown_name_resolves_to_nothing(tree: Path) -> None:
    made = request(tree, "name=nobody")
    assert (made.resolved, made.loaded) == ((), ())
    assert made.helper > 0


def test_what_is_loaded_already(tree: Path) -> None:
    with Kernel(tree=tree) as k:
        k.insmod(tree / "exporter.ko")
        k.insmod(tree / "rm_call.ko", "name=exporter")
        (made,) = k.requests
    assert (made.result, made.resolved, made.loaded) == (0, (), ())


def test_no_helper(tree: Path) -> None:
    with Kernel(tree=tree) as k:
        k.sysctl("kernel.modprobe", "")
        k.insmod(tree / "rm_call.ko", "name=exporter")
        (made,) = k.requests
    assert (made.result, made.helper, made.resolved) == (-2, 0, ())


def test_requests_that_overlap_are_each_credited_with_their_own_modules(tree: Path) -> None:
    with Kernel(tree=tree) as k:
        k.insmod(tree / "rm_call.ko")
        for wanted in ("exporter init_ms=500", "ok_dep"):
            k.start("sh", lambda core, wanted=wanted: core.procfs.write(ASK, wanted))
        k.run(2)
        made = {request.name: request for request in k.requests}
    assert list(made) == ["nobody", "ok_dep", "exporter init_ms=500"], "the slow one returns last"
    assert made["ok_dep"].loaded == ("ok_dep",)
    assert made["exporter init_ms=500"].loaded == ("exporter",)
    assert made["exporter init_ms=500"].resolved == (f"{tree}/exporter.ko",)


def test_a_request_made_by_an_init_function_is_credited_to_itself_alone(tree: Path) -> None:
    with Kernel(tree=tree) as k:
        k.insmod(tree / "rm_call.ko", 'name="exporter request=ok_dep"')
        inner, outer = k.requests
    assert (inner.name, inner.loaded) == ("ok_dep", ("ok_dep",))
    assert outer.loaded == ("exporter",)


def test_a_module_that_a_child_of_the_helper_loads_is_credited_to_the_request(tree: Path) -> None:
    def helper(process: Process) -> int:
        return process.sys.spawn("/sbin/modprobe", ("/sbin/modprobe", process.argv[-1]), process.env)

    with Kernel(tree=tree) as k:
        k.install("/sbin/helper", helper)
        k.sysctl("kernel.modprobe", "/sbin/helper")
        k.insmod(tree / "rm_call.ko", "name=ok_dep")
        (made,) = k.requests
    assert made.loaded == ("ok_dep",)
