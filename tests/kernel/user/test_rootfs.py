"""The root file system that a machine begins with, and the file systems that are mounted on it."""

from __future__ import annotations

import errno
import io
import os
import stat
import tarfile
from collections import Counter
from pathlib import Path

import pytest
from tests.real import debian

from ukmod.errors import FormatError, LimitError, NotFoundError, UsageError
from ukmod.kernel.api import Kernel
from ukmod.kernel.user import put, root_files
from ukmod.kernel.user.syscall import SyscallArgument, SystemCalls
from ukmod.kmod.archives.directories import directory_entries
from ukmod.kmod.cpio import ArchiveEntry, newc

pytestmark = pytest.mark.real
FIRMWARE = "/sys/devices/virtual/misc/test_firmware/trigger_request"


def directory(path: Path) -> Path:
    """A small root."""
    for name in ("bin", "dev", "etc", "lib/firmware", "tmp"):
        (path / name).mkdir(parents=True)
    (path / "etc/hostname").write_text("guest\n")
    (path / "etc/link").symlink_to("/etc/hostname")
    (path / "bin/program").write_bytes(b"\x7fELF")
    (path / "bin/program").chmod(0o4755)
    os.link(path / "bin/program", path / "bin/other")
    (path / "lib/firmware/test-firmware.bin").write_text("blob")
    (path / "tmp/kept").write_text("")
    return path


@pytest.fixture
def package() -> debian.Debian:
    return debian.require()


def test_a_directory_is_the_root(package: debian.Debian, tmp_path: Path) -> None:
    root = directory(tmp_path)
    with Kernel(image=package.vmlinuz, root=root) as k:
        assert k.read("/etc/link") == "guest\n"
        found = k.stat("/bin/other")
        assert (stat.S_IMODE(found.st_mode), found.st_nlink, found.st_uid) == (0o4755, 2, 0)
        assert k.listdir("/tmp") == ["kept"]  # no tmpfs hides it
        assert "null" in k.listdir("/dev")  # devtmpfs does hide the root's own
        k.write("/etc/hostname", "changed\n")
        for path, mode in (("/run", 0o755), ("/dev/shm", 0o1777)):
            assert stat.S_IMODE(k.stat(path).st_mode) == mode
        mounts = {line.split()[1]: line.split()[2] for line in k.read("/proc/self/mounts").splitlines()}
        kinds = {"/dev": "devtmpfs", "/proc": "proc", "/sys": "sysfs", "/run": "tmpfs", "/dev/pts": "devpts"}
        debugging = {"debug": "debugfs", "tracing": "tracefs", "security": "securityfs"}
        kinds |= {f"/sys/kernel/{name}": kind for name, kind in debugging.items()}
        assert kinds.items() <= mounts.items()
    assert (root / "etc/hostname").read_text() == "guest\n"


def test_the_pressure_of_tasks_can_be_read(package: debian.Debian) -> None:
    """kernel/sched/psi.c: its averages are over a period that psi_init() sets."""
    with Kernel(image=package.vmlinuz) as k:
        for name in k.listdir("/proc/pressure"):
            assert k.read(f"/proc/pressure/{name}").startswith("some avg10=0.00 ")
        assert not k.oopses


def test_the_kernels_own_security_modules_are_there(package: debian.Debian) -> None:
    with Kernel(image=package.vmlinuz) as k:
        assert k.read("/sys/kernel/security/lsm") == "capability,landlock,yama"


def test_firmware_comes_from_the_root(package: debian.Debian, tmp_path: Path) -> None:
    with Kernel(image=package.vmlinuz, tree=package.modules, root=directory(tmp_path)) as k:
        k.modprobe("test_firmware")
        k.write(FIRMWARE, "test-firmware.bin")
        assert k.read("/dev/test_firmware") == "blob"  # copied from an area of vmap()
        with pytest.raises(FileNotFoundError):
            k.write(FIRMWARE, "none.bin")
        assert not k.oopses


def test_an_archive_is_the_root(package: debian.Debian, tmp_path: Path) -> None:
    device = ArchiveEntry("etc/device", stat.S_IFCHR | 0o600, device=(1, 3))
    evil = [
        ArchiveEntry("up", stat.S_IFLNK | 0o777, b"/../.."),
        ArchiveEntry("up/x", stat.S_IFREG | 0o644, b"x"),
    ]
    cpio = tmp_path / "root.cpio"
    cpio.write_bytes(b"".join(newc([device, *evil])))
    packed = tmp_path / "root.tar.gz"
    with tarfile.open(packed, "w:gz") as archive:
        member = tarfile.TarInfo("./bin/su")
        member.mode, member.uid, member.gid, member.size = 0o6755, 7, 8, 3
        archive.addfile(member, io.BytesIO(b"ELF"))
        link = tarfile.TarInfo("./bin/sudo")
        link.type, link.linkname = tarfile.LNKTYPE, "./bin/su"
        archive.addfile(link)
    with Kernel(image=package.vmlinuz, root=cpio) as k:
        assert k.read("/x") == "x"  # no link leads out of the root
        assert k.process.lstat("/up").st_mode & stat.S_IFLNK
    with Kernel(image=package.vmlinuz, root=packed) as k:
        found = k.stat("/bin/sudo")
        assert (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid, found.st_nlink) == (0o6755, 7, 8, 2)


def test_a_root_that_does_not_do_is_an_error(
    package: debian.Debian, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(NotFoundError, match="no such root"):
        Kernel(root=tmp_path / "none")
    (tmp_path / "text").write_text("no archive")
    with Kernel(image=package.vmlinuz, root=tmp_path / "text") as k, pytest.raises(FormatError):
        k.boot()
    with pytest.raises(UsageError, match="give an image"):
        Kernel(image="none", root=tmp_path)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(root_files, "fill", full)
    with Kernel(image=package.vmlinuz, root=tmp_path) as k, pytest.raises(LimitError, match="does not fit"):
        k.boot()


def test_what_lies_in_a_setgid_directory_keeps_its_own_group(package: debian.Debian, tmp_path: Path) -> None:
    packed = tmp_path / "root.tar"
    shared = {"type": tarfile.DIRTYPE, "mode": 0o2775, "gid": 50}
    members = (
        ("shared", shared),
        ("shared/below", {"type": tarfile.DIRTYPE, "mode": 0o777}),
        ("shared/file", {"mode": 0o666, "size": 1}),
        ("shared/empty", {"mode": 0o4711}),
        ("shared/link", {"type": tarfile.SYMTYPE, "linkname": "file"}),
        ("shared/twice", {"mode": 0o600, "size": 1}),
        ("shared/twice", {"mode": 0o644}),
    )
    with tarfile.open(packed, "w") as archive:
        for name, fields in members:
            member = tarfile.TarInfo(name)
            for field, value in fields.items():
                setattr(member, field, value)
            archive.addfile(member, io.BytesIO(b"x"))
    with Kernel(image=package.vmlinuz, root=packed) as k:
        found = {path: k.process.lstat(path) for path in ("/shared", *(f"/{name}" for name, _ in members))}
        modes = {path[7:]: (stat.S_IMODE(status.st_mode), status.st_gid) for path, status in found.items()}
        assert modes == {
            "": (0o2775, 50),
            "/below": (0o777, 0),
            "/file": (0o666, 0),
            "/empty": (0o4711, 0),
            "/link": (0o777, 0),
            "/twice": (0o644, 0),
        }
        assert k.read("/shared/twice") == ""
        (tmp_path / "late").write_text("")
        k.put(tmp_path / "late", "/shared/late")  # into a directory that is there
        assert k.stat("/shared/late").st_gid == 0
        k.mkdir("/made", 0o777)
        assert stat.S_IMODE(k.stat("/made").st_mode) == 0o755  # the umask is what it was


def test_a_link_and_a_directory_are_one_system_call(
    package: debian.Debian, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str | int] = []
    make = SystemCalls.__call__

    def counted(self: SystemCalls, call: str | int, *arguments: SyscallArgument) -> int:
        calls.append(call)
        return make(self, call, *arguments)

    for number in range(20):
        (tmp_path / f"d{number}").mkdir()
        (tmp_path / f"l{number}").symlink_to("target")
        (tmp_path / f"f{number}").write_text("content")
    with Kernel(image=package.vmlinuz) as k:
        first = k.process
        owned, before = k.core.slab.in_use(), len(list(k.core.slab.objects()))
        monkeypatch.setattr(SystemCalls, "__call__", counted)

        def work() -> None:
            with k.core.slab.as_kernel():
                put.fill(first, directory_entries(str(tmp_path)), "/")

        first.run(work)
        counts = Counter(calls)
        assert len(list(k.core.slab.objects())) - before > 3 * 20
        assert len(k.core.slab.in_use() - owned) <= 20  # the pages of files: objects are the kernel's own
    assert counts == {
        "umask": 2, "newfstatat": 1, "mkdirat": 20, "symlinkat": 20, "openat": 20, "write": 20, "close": 20,
    }  # fmt: skip
