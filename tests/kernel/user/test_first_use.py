"""A root's files are made when they are first used; to every program, they were there before."""

from __future__ import annotations

import io
import signal
import stat
import struct
import tarfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.real import debian

from ukmod.kernel import uapi as c
from ukmod.kernel.api import Kernel
from ukmod.kernel.user.process import UserProcess

pytestmark = pytest.mark.real
MS_RDONLY, MS_REMOUNT, MS_BIND = 0x1, 0x20, 0x1000
FILE_SIZE = 1
"""The resource of prlimit(2), include/uapi/asm-generic/resource.h."""
NOBODY = 0xFFFF_FFFF
ENTRIES = ((0x01, 7, NOBODY), (0x02, 7, 33), (0x04, 5, NOBODY), (0x10, 7, NOBODY), (0x20, 0, NOBODY))
"""Of an ACL: user::rwx, user:33:rwx, group::r-x, mask::rwx, other::---"""
ACL = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in ENTRIES)
CAPABILITY = struct.pack("<5I", 0x02000001, 1 << 13, 0, 0, 0)
"""A file's, cap_net_raw=ep, as setcap(8) stores it in security.capability."""
BELOW: dict[str, dict[str, Any]] = {
    "": {"type": tarfile.DIRTYPE, "mode": 0o755},
    "/file": {"mode": 0o666, "size": 5},
    "/empty": {"mode": 0o4711, "uid": 3},
    "/sub": {"type": tarfile.DIRTYPE, "mode": 0o2777},
    "/sub/inner": {"mode": 0o644, "gid": 9, "size": 5},
    "/link": {"type": tarfile.SYMTYPE, "linkname": "file"},
    "/pipe": {"type": tarfile.FIFOTYPE, "mode": 0o622},
}
Influence = Callable[[UserProcess, str], object]


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    """A machine whose root has two like directories for each influence, and some for other tests."""
    packed = tmp_path_factory.mktemp("root") / "root.tar"
    with tarfile.open(packed, "w") as archive:
        for influence in (
            *(one.__name__ for one in INFLUENCES),
            "afterwards",
            "capabilities",
            "moved",
            "removed",
        ):
            for top in ("used", "unused"):
                _add(archive, f"{influence}/{top}")
    with Kernel(image=debian.require().vmlinuz, root=packed) as k:
        yield k


def _add(archive: tarfile.TarFile, top: str) -> None:
    for name, members in BELOW.items():
        info = tarfile.TarInfo(top + name)
        for member, value in members.items():
            setattr(info, member, value)
        archive.addfile(info, io.BytesIO(b"12345"))


def seen(process: UserProcess, top: str) -> dict[str, object]:
    """What a program can see below a directory."""
    found: dict[str, object] = {}
    for name in sorted(process.listdir(top)):
        path = f"{top}/{name}"
        status = process.lstat(path)
        attributes = bytearray(256)
        size = process.syscall("llistxattr", path, attributes, len(attributes))
        found[path.partition("used/")[2]] = (
            oct(status.st_mode), status.st_uid, status.st_gid, status.st_nlink, status.st_size,
            status.st_mtime, bytes(attributes[:size]),
        )  # fmt: skip
        if stat.S_ISDIR(status.st_mode):
            found |= seen(process, path)
    return found


def contents(process: UserProcess, top: str) -> list[bytes]:
    return [process.read(f"{top}/{name}") for name in ("file", "sub/inner")]


def has_default_acl(process: UserProcess, top: str) -> None:
    process.syscall("setxattr", top, "system.posix_acl_default", ACL, len(ACL), 0)


def has_attribute(process: UserProcess, top: str) -> None:
    process.syscall("setxattr", top, "trusted.kind", b"x", 1, 0)


def has_other_owner_and_mode(process: UserProcess, top: str) -> None:
    process.syscall("chown", top, 7, 8)
    process.syscall("chmod", top, 0o3000)


def user_has_umask(process: UserProcess, _: str) -> None:
    process.syscall("umask", 0o777)


def user_may_write_no_file(process: UserProcess, _: str) -> None:
    process.syscall("prlimit64", 0, FILE_SIZE, struct.pack("<QQ", 0, 0), None)


def user_has_no_capability(process: UserProcess, top: str) -> None:
    if top.endswith("/unused"):
        process.syscall("setresuid", 1000, 1000, 1000)


def user_has_own_mounts(process: UserProcess, _: str) -> None:
    process.syscall("unshare", c.CLONE_NEWNS)


def file_system_is_read_only(process: UserProcess, _: str) -> None:
    process.mount("", "/", "", flags=MS_REMOUNT | MS_RDONLY)


def mount_is_read_only(process: UserProcess, _: str) -> None:
    process.mount("", "/", "", flags=MS_REMOUNT | MS_BIND | MS_RDONLY)


def is_writable(process: UserProcess) -> None:
    for flags in (MS_REMOUNT, MS_REMOUNT | MS_BIND):
        process.mount("", "/", "", flags=flags)


def all_are_stopped(process: UserProcess, _: str) -> None:
    process.syscall("kill", -1, signal.SIGSTOP)


def all_are_killed(process: UserProcess, _: str) -> None:
    process.syscall("kill", -1, signal.SIGKILL)


INFLUENCES: list[Influence] = [
    has_default_acl, has_attribute, has_other_owner_and_mode, user_has_umask, user_may_write_no_file,
    user_has_no_capability, user_has_own_mounts, file_system_is_read_only, mount_is_read_only,
    all_are_stopped, all_are_killed,
]  # fmt: skip


@pytest.mark.parametrize("influence", INFLUENCES)
def test_what_a_program_did_before_changes_nothing(influence: Influence, machine: Kernel) -> None:
    used, unused = (f"/{influence.__name__}/{name}" for name in ("used", "unused"))
    seen(machine.process, used)
    contents(machine.process, used)

    def work(process: UserProcess) -> list[tuple[object, object]]:
        influence(process, used)
        influence(process, unused)
        return [(seen(process, top), contents(process, top)) for top in (used, unused)]

    try:
        before, now = machine.spawn(work).result()
    finally:
        is_writable(machine.process)
    assert now == before
    assert before[1] == [b"12345"] * 2
    assert "of the root:" not in machine.dmesg()


def test_the_file_system_is_as_it_was_set_afterwards(machine: Kernel) -> None:
    process, top = machine.process, "/afterwards/unused"
    has_default_acl(process, top)
    try:
        for influence, used in ((mount_is_read_only, seen), (file_system_is_read_only, contents)):
            influence(process, top)
            used(process, top)
            with pytest.raises(OSError, match="Read-only file system"):
                process.mkdir(f"{top}/new")
    finally:
        is_writable(process)
    process.mkdir(f"{top}/new")
    found = bytearray(64)
    assert process.syscall("getxattr", f"{top}/new", "system.posix_acl_default", found, 64) == len(ACL)


def test_a_files_capabilities_outlast_its_first_use(machine: Kernel) -> None:
    process, path, name = machine.process, "/capabilities/unused/file", "security.capability"
    process.syscall("setxattr", path, name, CAPABILITY, len(CAPABILITY), 0)
    assert process.read(path) == b"12345"
    found = bytearray(64)
    assert process.syscall("getxattr", path, name, found, 64) == len(CAPABILITY)
    process.write(path, b"x")  # which takes them, as ever
    with pytest.raises(OSError, match="No data available"):
        process.syscall("getxattr", path, name, found, 64)


def test_what_was_moved_hidden_or_removed_has_its_content(machine: Kernel) -> None:
    process = machine.process
    with process.open("/moved/unused/file", flags=c.O_PATH) as file:
        process.unlink("/moved/unused/file")
        assert process.read(f"/proc/self/fd/{file.fileno()}") == b"12345"
    directory = process.open("/moved/unused/sub", flags=c.O_PATH)
    process.syscall("rename", "/moved/unused/sub", "/moved/sub")
    process.mount("none", "/moved/sub", "tmpfs")
    assert process.listdir("/moved/sub") == []
    assert process.listdir(f"/proc/self/fd/{directory.fileno()}") == ["inner"]
    process.umount("/moved/sub")
    with pytest.raises(OSError, match="Directory not empty"):
        process.rmdir("/moved/sub")


def test_nothing_holds_what_is_removed(machine: Kernel) -> None:
    """While a removed file is held, its file system cannot be made read-only."""
    process, top = machine.process, "/removed/unused"
    contents(process, top)
    process.unlink(f"{top}/sub/inner")
    process.unlink(f"{top}/file")
    process.rmdir(f"{top}/sub")
    try:
        file_system_is_read_only(process, top)
    finally:
        is_writable(process)


def test_the_error_of_a_mount_names_the_target(machine: Kernel) -> None:
    with pytest.raises(FileNotFoundError) as error:
        machine.mount("tmpfs", "/none", "tmpfs")
    assert error.value.filename == "/none"
