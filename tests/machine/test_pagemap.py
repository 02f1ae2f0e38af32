"""Which pages were written to, as the host says."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ukmod.machine.memory import PAGE_SHIFT, PAGE_SIZE, Memory
from ukmod.machine.pagemap import written

PAGE = mmap.PAGESIZE

linux = pytest.mark.skipif(not Path("/proc/self/pagemap").exists(), reason="only Linux has a pagemap")


@pytest.fixture
def copied(tmp_path: Path) -> Iterator[mmap.mmap]:
    """Three pages of a file, mapped copy-on-write."""
    path = tmp_path / "pages"
    path.write_bytes(b"x" * 3 * PAGE)
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 3 * PAGE, flags=mmap.MAP_PRIVATE) as pages:
        yield pages


@linux
def test_a_page_that_was_only_read_is_the_files(copied: mmap.mmap) -> None:
    assert copied[0] == copied[PAGE] == ord("x")
    copied[PAGE] = 0
    assert written(copied, 3) == b"\0\1\0"


@linux
def test_a_child_has_what_its_parent_has_written(copied: mmap.mmap) -> None:
    copied[0] = 0
    if (pid := os.fork()) == 0:
        copied[2 * PAGE] = 0
        os._exit(0 if written(copied, 3) == b"\1\0\1" else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_where_the_host_does_not_tell_all_pages_may_have_been(
    copied: mmap.mmap, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(*_: object, **__: object) -> None:
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr("builtins.open", absent)
    assert written(copied, 3) == b"\1\1\1"


def test_a_frame_that_was_written_to_is_among_those_of_a_machine() -> None:
    memory = Memory(16 << 20)
    frames = memory.alloc_frames(3)
    memory.view[frames + PAGE_SIZE] = 1
    assert memory.written()[(frames >> PAGE_SHIFT) + 1] == 1
    assert len(memory.written()) == (frames >> PAGE_SHIFT) + 3
