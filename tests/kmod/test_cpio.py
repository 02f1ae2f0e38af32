"""cpio archives: the format, and that an archive is the same each time."""

from __future__ import annotations

import stat
import subprocess
from pathlib import Path

import pytest

from ukmod.errors import LimitError
from ukmod.kmod.cpio import ArchiveEntry, newc

ENTRIES = [
    ArchiveEntry("lib", stat.S_IFDIR | 0o755),
    ArchiveEntry("lib/a.ko", stat.S_IFREG | 0o644, b"module"),
    ArchiveEntry("lib/b", stat.S_IFLNK | 0o777, b"a.ko"),
]


def test_a_header_has_thirteen_fields_of_eight_digits() -> None:
    archive = b"".join(newc(ENTRIES[1:2], 1234))
    assert archive[:6] == b"070701"
    fields = [int(archive[6 + 8 * at : 14 + 8 * at], 16) for at in range(13)]
    assert fields == [1, stat.S_IFREG | 0o644, 0, 0, 1, 1234, 6, 0, 0, 0, 0, len("lib/a.ko") + 1, 0]
    assert archive[110:119] == b"lib/a.ko\0"
    assert archive[120:128] == b"module\0\0"


def test_an_archive_ends_with_a_trailer_and_fills_its_block() -> None:
    archive = b"".join(newc(ENTRIES))
    assert len(archive) % 512 == 0
    assert archive.rstrip(b"\0").endswith(b"TRAILER!!!")


def test_a_time_beyond_the_format_is_refused() -> None:
    with pytest.raises(LimitError, match="cannot be in a cpio archive"):
        list(newc(ENTRIES, 1 << 32))


@pytest.mark.real
def test_cpio_unpacks_it(tmp_path: Path) -> None:
    done = subprocess.run(
        ["cpio", "-idm", "--quiet"], input=b"".join(newc(ENTRIES, 86400)), cwd=tmp_path, check=True
    )
    assert done.returncode == 0
    assert (tmp_path / "lib/a.ko").read_bytes() == b"module"
    assert (tmp_path / "lib/a.ko").stat().st_mtime == 86400
    assert (tmp_path / "lib/b").readlink() == Path("a.ko")
