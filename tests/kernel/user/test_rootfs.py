"""The root file system that a machine begins with, and the file systems that are mounted on it."""

from __future__ import annotations

import errno
import io
import os
import stat
import tarfile
from pathlib import Path

import pytest
from tests.real import debian

from ukmod.errors import FormatError, LimitError, NotFoundError, UsageError
from ukmod.kernel.api import Kernel
from ukmod.kernel.user import put
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

    monkeypatch.setattr(put, "fill", full)
    with Kernel(image=package.vmlinuz, root=tmp_path) as k, pytest.raises(LimitError, match="does not fit"):
        k.boot()
