"""Programs that load and unload modules: the system calls, /proc/modules and /sys/module."""

from __future__ import annotations

import errno
import gzip
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.golden import RELEASE, modules
from tests.kernel.user import roots
from tests.real import debian

from ukmod.errors import LoadError
from ukmod.kernel.api import Kernel
from ukmod.kernel.attempt import in_process
from ukmod.kernel.user.process import UserProcess
from ukmod.kmod.host import INIT_COMPRESSED_FILE, INIT_IGNORE_MODVERSIONS, INIT_IGNORE_VERMAGIC

pytestmark = pytest.mark.real

InMachine = Callable[[Callable[[Kernel], Any]], Any]
BAD = 0xDEAD0000
"""A user address where nothing is mapped."""
O_NONBLOCK = 0o4000


def attempt(process: UserProcess, *call: Any) -> str:
    """The result of a system call, as strace(1) names it."""
    try:
        return str(process.syscall(*call))
    except OSError as error:
        return errno.errorcode[error.errno or 0]


def put_module(k: Kernel, name: str) -> int:
    """The descriptor of a module's file, opened in the machine."""
    k.put(modules()[name], f"/{name}.ko")
    return k.process.syscall("open", f"/{name}.ko", 0, 0)


def test_each_error_comes_in_the_kernels_order(in_machine: InMachine, tmp_path: Path) -> None:
    def work(k: Kernel) -> None:
        (tmp_path / "junk").write_bytes(b"x" * 100)
        k.put(tmp_path / "junk", "/junk")
        junk = k.process.syscall("open", "/junk", 0, 0)
        file, data = put_module(k, "ok_dep"), modules()["ok_dep"].read_bytes()
        calls = (
            (("finit_module", 99, "", 0), "EBADF"),
            (("finit_module", 99, "", 64), "EINVAL"),
            (("finit_module", junk, BAD, 0), "ENOEXEC"),
            (("finit_module", file, BAD, 0), "EFAULT"),
            (("finit_module", file, "x=word", 0), "EINVAL"),
            (("init_module", BAD, 10, ""), "ENOEXEC"),
            (("init_module", BAD, len(data), BAD), "EFAULT"),
            (("init_module", data, len(data), BAD), "EFAULT"),
            (("init_module", data, len(data), "x=5"), "0"),
            (("init_module", data, len(data), ""), "EEXIST"),
            (("finit_module", file, BAD, 0), "EEXIST"),
            (("delete_module", BAD, 0), "EFAULT"),
            (("delete_module", "", 0), "ENOENT"),
            (("delete_module", "x" * 55, 0), "ENOENT"),
            (("delete_module", "x" * 56, 0), "ENOENT"),
            (("delete_module", "ok_dep", O_NONBLOCK), "0"),
            (("delete_module", "ok_dep", O_NONBLOCK), "ENOENT"),
        )
        found = [(call, attempt(k.process, *call)) for call, _ in calls]
        assert found == [*calls]
        assert k.dmesg().count("Invalid ELF header magic: != \x7fELF") == 1
        assert not k.modules
        assert not k.leaks()
        assert not k.core.oopses

    in_machine(work)


def test_a_process_without_the_capability_gets_no_further(in_machine: InMachine) -> None:
    def work(k: Kernel) -> None:
        calls = (("init_module", BAD, 1, BAD), ("finit_module", 99, BAD, 64), ("delete_module", BAD, 0))
        user = k.spawn(lambda p: [attempt(p, *call) for call in calls], uid=1000)
        assert user.result() == ["EPERM"] * 3

    in_machine(work)


def test_used_modules_and_those_without_an_exit_stay(in_machine: InMachine) -> None:
    def work(k: Kernel) -> None:
        for name in ("exporter", "uses_exporter", "no_exit"):
            assert attempt(k.process, "finit_module", put_module(k, name), "", 0) == "0"
        assert attempt(k.process, "delete_module", "exporter", O_NONBLOCK) == "EAGAIN"
        assert attempt(k.process, "delete_module", "no_exit", 0) == "EBUSY"
        assert list(k.modules) == ["no_exit", "uses_exporter", "exporter"]
        k.rmmod("uses_exporter")
        assert attempt(k.process, "delete_module", "exporter", 0) == "0"

    in_machine(work)


def test_flags_are_those_of_the_kernel(in_machine: InMachine, tmp_path: Path) -> None:
    """Debian's 6.1 cannot unpack modules; a packed file is no module to it."""

    def work(k: Kernel) -> None:
        packed = tmp_path / "packed"
        packed.write_bytes(gzip.compress(modules()["ok_dep"].read_bytes()))
        k.put(packed, "/packed")
        file = k.process.syscall("open", "/packed", 0, 0)
        assert attempt(k.process, "finit_module", file, "", 0) == "ENOEXEC"
        assert attempt(k.process, "finit_module", file, "", INIT_COMPRESSED_FILE) == "ENOTSUP"
        both = INIT_IGNORE_MODVERSIONS | INIT_IGNORE_VERMAGIC
        assert attempt(k.process, "finit_module", put_module(k, "exporter"), "", both) == "0"
        assert "exporter: module_layout: kernel tainted." in k.dmesg()
        assert " (FOE)\n" in k.read("/proc/modules")

    in_machine(work)


def test_a_module_that_dies_in_its_init_kills_its_loader(in_machine: InMachine) -> None:
    def work(k: Kernel) -> None:
        k.put("/bin/busybox", "/bin/busybox")
        k.put(modules()["oops"], "/oops.ko")
        assert k.exec(["/bin/busybox", "insmod", "/oops.ko", "kind=null_read"]).signal
        assert len(k.core.oopses) == 1
        assert " Loading 0x" in k.read("/proc/modules")

    in_machine(work)


def test_python_and_programs_see_the_same_modules(in_machine: InMachine) -> None:
    def work(k: Kernel) -> None:
        k.put("/bin/busybox", "/bin/busybox")
        for name in ("exporter", "uses_exporter", "params"):
            k.put(modules()[name], f"/{name}.ko")
            words = ["array=1,2"] * (name == "params")
            assert k.exec(["/bin/busybox", "insmod", f"/{name}.ko", *words]).status == 0
        host = k.core.procfs

        def python_read(path: str) -> str:
            return in_process(k.core, "cat", lambda: host.read(path), subject=path)

        assert k.read("/proc/modules") == host.read("/proc/modules")
        for name in k.modules:
            top = f"/sys/module/{name}"
            found = list(below(top, k.listdir, lambda path: k.process.read(path).decode("latin-1")))
            assert found == list(below(top, host.list, python_read))
        k.write("/sys/module/params/parameters/an_int", "77")
        assert python_read("/sys/module/params/parameters/an_int") == "77\n"
        for name in ("params", "uses_exporter", "exporter"):
            assert k.exec(["/bin/busybox", "rmmod", name]).status == 0
            assert name not in k.listdir("/sys/module")
        assert not k.read("/proc/modules")
        assert not k.leaks()
        assert not k.dangling

    in_machine(work)


def below(
    path: str, names: Callable[[str], list[str]], read: Callable[[str], str]
) -> Iterator[tuple[str, str]]:
    """Each file of a module's directory, and its text or the errno with which it cannot be read."""
    for name in sorted(names(path)):
        inside = f"{path}/{name}"
        if name in ("parameters", "sections", "notes", "holders"):
            yield from below(inside, names, read)
        elif path.endswith("/holders"):
            yield inside, ""
        else:
            try:
                yield inside, read(inside)
            except (OSError, LoadError) as error:
                yield inside, errno.errorcode[error.errno or 0]


@pytest.fixture(scope="module")
def kmod(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with the distribution's tools."""
    debian.require("depmod", "busybox")
    return roots.with_kmod(tmp_path_factory.mktemp("root"))


def test_the_distributions_tools_work(in_machine: InMachine, kmod: Path) -> None:
    def work(k: Kernel) -> None:
        k.put(kmod, "/")

        def run(*argv: str) -> list[str]:
            done = k.exec([f"/sbin/{argv[0]}", *argv[1:]])
            return [f"{done.status}", *(done.stdout + done.stderr).decode().splitlines()]

        assert run("modprobe", "uses_exporter") == ["0"]
        users = ["uses_exporter          16384  0", "exporter               16384  1 uses_exporter"]
        assert run("lsmod")[2:] == users
        assert run("rmmod", "exporter") == ["1", "rmmod: ERROR: Module exporter is in use by: uses_exporter"]
        assert run("modprobe", "-r", "uses_exporter") == ["0"]
        assert run("rmmod", "exporter") == ["1", "rmmod: ERROR: Module exporter is not currently loaded"]
        path = f"/{roots.MODULES}/extra/ok_dep.ko"
        assert run("insmod", path, "x=7") == ["0"]
        exists = f"insmod: ERROR: could not insert module {path}: File exists"
        assert run("insmod", path) == ["1", exists]
        assert run("rmmod", "ok_dep") == ["0"]
        assert run("modinfo", "-F", "vermagic", "ok_dep")[1].startswith(RELEASE)
        before = k.read(f"/{roots.MODULES}/modules.dep")
        k.process.unlink(f"/{roots.MODULES}/modules.dep")
        assert run("depmod") == ["0"]
        assert k.read(f"/{roots.MODULES}/modules.dep") == before
        assert "ok_dep: init, x=7" in k.dmesg()
        assert not k.modules
        assert not k.leaks()

    in_machine(work)


def test_sysctls_of_modules_are_the_same_from_both_sides(in_machine: InMachine) -> None:
    def work(k: Kernel) -> None:
        k.write("/proc/sys/kernel/modprobe", "/sbin/other\n")
        assert k.sysctl("kernel.modprobe") == "/sbin/other"
        k.sysctl("kernel.modprobe", "/sbin/third")
        assert k.read("/proc/sys/kernel/modprobe") == "/sbin/third\n"
        k.write("/proc/sys/kernel/modules_disabled", "1")
        assert k.sysctl("kernel.modules_disabled") == "1"
        assert attempt(k.process, "delete_module", BAD, 0) == "EPERM"

    in_machine(work)
