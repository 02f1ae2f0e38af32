"""The tools as processes over a library in LD_PRELOAD, which is how kmod's own test-suite plays a kernel."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests import elfwriter

from ukmod.kmod.index_write import write_index

pytestmark = pytest.mark.real

KERNEL = r"""
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>

static long told(const char *call, const char *text, unsigned flags)
{
    FILE *log = fopen(getenv("KERNEL_LOG"), "a");
    fprintf(log, "%s %s %u\n", call, text, flags);
    fclose(log);
    return 0;
}
int finit_module(int fd, const char *params, int flags)
{
    (void)fd;
    return told("finit_module", params, flags);
}
long init_module(const void *image, unsigned long size, const char *params)
{
    (void)image;
    return told("init_module", params, size > 64);
}
long delete_module(const char *name, unsigned flags)
{
    told("delete_module", name, flags);
    errno = EWOULDBLOCK;
    return -1;
}
int utimensat(int directory, const char *path, const struct timespec times[2], int flags)
{
    (void)directory, (void)path, (void)times, (void)flags;
    errno = ENOENT; /* kmod's test-suite does not redirect it, so that the path would be another */
    return -1;
}
int uname(struct utsname *name)
{
    memset(name, 0, sizeof *name);
    strcpy(name->release, "4.4.4");
    return 0;
}
"""


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler: apt-get install gcc libc6-dev")
    directory = tmp_path_factory.mktemp("kernel")
    (directory / "kernel.c").write_text(KERNEL)
    library = directory / "kernel.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, directory / "kernel.c"], check=True)
    return library


@pytest.fixture
def root(tmp_path: Path) -> Path:
    directory = tmp_path / "lib/modules/4.4.4"
    (directory / "kernel").mkdir(parents=True)
    for name in ("my_user", "my_base"):
        (directory / f"kernel/{name}.ko").write_bytes(elfwriter.module(name))
    lines = [("my_user", 0, "kernel/my_user.ko: kernel/my_base.ko"), ("my_base", 1, "kernel/my_base.ko:")]
    for index, entries in (
        ("dep", lines),
        ("alias", [("al_*", 0, "my_user")]),
        ("symbols", []),
        ("builtin", []),
    ):
        (directory / f"modules.{index}.bin").write_bytes(write_index(entries))
    return tmp_path


def run(kernel: Path, root: Path, *command: str) -> tuple[int, str, str]:
    """Run a tool; returns its status, its messages, and what it asked of the kernel."""
    log = root / "log"
    log.write_text("")
    environment = {
        "LD_PRELOAD": str(kernel),
        "KERNEL_LOG": str(log),
        "PYTHONPATH": os.pathsep.join(sys.path),
        "PATH": "/usr/bin:/bin",
    }
    program = "import sys; from ukmod.cli import main; sys.exit(main(sys.argv[1:]))"
    result = subprocess.run(
        [sys.executable, "-c", program, *command],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    return result.returncode, result.stderr, log.read_text()


def test_modprobe(kernel: Path, root: Path) -> None:
    status, messages, calls = run(kernel, root, "modprobe", "-d", str(root), "-q", "--", "al-1", "x=1")
    assert (status, messages) == (0, "")
    assert calls == "finit_module  0\nfinit_module x=1 0\n"


def test_the_release_is_the_wrapper_s(kernel: Path, root: Path) -> None:
    _status, messages, _calls = run(kernel, root, "modprobe", "-d", str(root), "nothing")
    assert messages == f"modprobe: FATAL: Module nothing not found in directory {root}/lib/modules/4.4.4\n"


def test_insmod(kernel: Path, root: Path) -> None:
    path = f"{root}/lib/modules/4.4.4/kernel/my_base.ko"
    assert run(kernel, root, "insmod", "-f", path, "a=b c") == (0, "", 'finit_module a="b c" 3\n')


def test_rmmod(kernel: Path, root: Path) -> None:
    status, messages, calls = run(kernel, root, "rmmod", "-f", "my-base")
    assert (status, calls) == (1, f"delete_module my_base {os.O_NONBLOCK | os.O_TRUNC}\n")
    assert messages.endswith(
        "rmmod: ERROR: could not remove module my-base: Resource temporarily unavailable\n"
    )


def test_depmod_again(kernel: Path, root: Path) -> None:
    """The second run finds nothing to be done, and says so by the time of modules.dep."""
    written = root / "lib/modules/4.4.4/modules.dep"
    for _ in range(2):
        status, messages, _calls = run(kernel, root, "depmod", "-b", str(root))
        assert (status, [line for line in messages.splitlines() if "WARNING" not in line]) == (0, [])
        os.utime(written, (1, 1))
    run(kernel, root, "depmod", "-b", str(root))
    assert written.stat().st_mtime > 1
