"""Only regular files of a bounded size are read: nothing blocks, has no end, or fills the memory."""

from __future__ import annotations

import errno
import os
import socket
import threading
from pathlib import Path

import pytest

from ukmod.kmod.modfile import ModuleFile
from ukmod.kmod.regular import read_regular


def place(tmp_path: Path, kind: str) -> str:
    path = tmp_path / "it"
    match kind:
        case "FIFO":
            os.mkfifo(path)
        case "socket":
            with socket.socket(socket.AF_UNIX) as it:
                it.bind(os.path.relpath(path))
        case "device":
            path.symlink_to("/dev/zero")
        case "directory":
            path.mkdir()
        case "sparse file":
            with path.open("wb") as file:
                file.truncate(10 << 30)
    return str(path)


KINDS = [
    ("FIFO", errno.EINVAL),
    ("socket", errno.ENXIO),  # open(2) says so
    ("device", errno.EINVAL),
    ("directory", errno.EISDIR),
    ("sparse file", errno.EFBIG),
    ("nothing", errno.ENOENT),
]


@pytest.mark.parametrize(("kind", "error"), KINDS)
def test_anything_else_is_refused_at_once(tmp_path: Path, kind: str, error: int) -> None:
    path = place(tmp_path, kind)
    with pytest.raises(OSError) as caught:  # noqa: PT011 - its errno is looked at
        read_regular(path)
    assert caught.value.errno == error
    with pytest.raises(OSError) as caught:  # noqa: PT011
        ModuleFile(path)
    assert caught.value.errno == error


def test_a_file_that_grows_past_the_limit_is_not_read_on(tmp_path: Path) -> None:
    (tmp_path / "it").write_bytes(bytes(100))
    assert len(read_regular(str(tmp_path / "it"), 100)) == 100
    with pytest.raises(OSError, match="too large"):
        read_regular(str(tmp_path / "it"), 99)


def test_the_null_device_is_an_empty_file() -> None:
    assert read_regular("/dev/null") == b""


def test_a_file_that_claims_to_be_empty_is_read_to_its_end() -> None:
    assert read_regular("/proc/self/stat").startswith(str(os.getpid()).encode())


def test_a_pipe_that_the_shell_has_opened_is_read() -> None:
    reader, writer = os.pipe()
    thread = threading.Thread(target=lambda: (os.write(writer, b"options x y=1\n"), os.close(writer)))
    thread.start()
    assert read_regular(f"/dev/fd/{reader}") == b"options x y=1\n"
    thread.join()
    os.close(reader)


def test_a_file_that_cannot_be_read_is_named() -> None:
    with pytest.raises(OSError, match="/proc/self/mem") as caught:
        read_regular("/proc/self/mem")
    assert caught.value.errno == errno.EIO
