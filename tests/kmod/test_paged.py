"""Files that are read page by page answer as their bytes would."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ukmod.errors import FormatError
from ukmod.kmod.index import Index
from ukmod.kmod.index_write import write_index
from ukmod.kmod.paged import PagedFile, open_paged

CONTENT = bytes(range(1, 256)) * 150 + b"\0" + b"x" * 9000 + b"\0end"
"""More than five pages, with a zero byte far from the place where one begins to look for it."""
PLACES = st.integers(0, len(CONTENT) + 10)


@pytest.fixture(scope="module")
def paged(tmp_path_factory: pytest.TempPathFactory) -> PagedFile:
    """A file of several pages."""
    path = tmp_path_factory.mktemp("paged") / "file"
    path.write_bytes(CONTENT)
    opened = open_paged(str(path))
    assert isinstance(opened, PagedFile)
    return opened


@given(start=PLACES, end=PLACES)
def test_slices_are_those_of_the_bytes(paged: PagedFile, start: int, end: int) -> None:
    assert paged[start:end] == CONTENT[start:end]


@given(place=st.integers(0, len(CONTENT) - 1))
def test_single_bytes_are_those_of_the_bytes(paged: PagedFile, place: int) -> None:
    assert paged[place] == CONTENT[place]


@given(wanted=st.sampled_from([b"\0", b"x", b"\x01", b"e"]), start=PLACES)
def test_a_byte_is_found_on_whatever_page_it_lies(paged: PagedFile, wanted: bytes, start: int) -> None:
    assert paged.find(wanted, start) == CONTENT.find(wanted, start)


def test_the_whole_file_is_a_slice_of_it(paged: PagedFile) -> None:
    assert (len(paged), paged[:]) == (len(CONTENT), CONTENT)


@pytest.mark.parametrize("size", [0, 1, 8191, 8192])
def test_a_small_file_is_read_at_once(tmp_path: Path, size: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"a" * size)
    assert open_paged(str(path)) == b"a" * size


def test_a_file_that_tells_no_size_is_read_to_its_end() -> None:
    assert open_paged("/proc/self/status")[:5] == b"Name:"


def test_a_fifo_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OSError, match="Not a regular file"):
        open_paged(str(tmp_path / "fifo"))


def test_a_file_that_is_cut_meanwhile_is_an_error_with_its_name(tmp_path: Path) -> None:
    path = tmp_path / "modules.alias.bin"
    path.write_bytes(CONTENT)
    opened = open_paged(str(path))
    os.truncate(path, 100)
    with pytest.raises(FormatError, match="shorter than it was") as error:
        opened[9000:9010]
    assert (error.value.path, error.value.offset) == (str(path), 8192)


def test_an_index_that_is_replaced_meanwhile_still_answers(tmp_path: Path) -> None:
    path = tmp_path / "modules.alias.bin"
    path.write_bytes(write_index([(f"alias-{n}-*", 0, f"m{n}") for n in range(3000)]))
    index = Index.open(str(path))
    path.unlink()
    assert index.lookup_wild("alias-2999-x") == ["m2999"]
    assert len(list(index.items())) == 3000


def test_an_index_answers_the_same_however_much_is_asked(tmp_path: Path) -> None:
    path = tmp_path / "modules.alias.bin"
    path.write_bytes(write_index([(f"alias-{n}-*", 0, f"m{n}") for n in range(3000)]))
    index = Index.open(str(path))
    assert [index.lookup_wild(f"alias-{n}-x") for n in range(100)] == [[f"m{n}"] for n in range(100)]
    assert [index.lookup(f"alias-{n}-*") for n in range(100)] == [f"m{n}" for n in range(100)]


@pytest.mark.parametrize("opener", [open_paged, Index.open])
def test_the_file_is_closed_at_the_end(tmp_path: Path, opener: Callable[[str], object]) -> None:
    path = tmp_path / "modules.alias.bin"
    path.write_bytes(write_index([(f"alias-{n}-*", 0, f"m{n}") for n in range(3000)]))
    opened = opener(str(path))
    assert str(path) in _open_files()
    del opened
    assert str(path) not in _open_files()


def _open_files() -> set[str]:
    """The files that this process has open; the directory itself is no longer when it is asked for."""
    found = set()
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            found.add(os.readlink(f"/proc/self/fd/{number}"))
    return found
