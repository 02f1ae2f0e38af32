from __future__ import annotations

from pathlib import Path

import pytest

from ukmod.kmod.directory import DirectoryFiles
from ukmod.kmod.still import StillFiles


def test_a_file_s_status_is_that_of_the_first_question(tmp_path: Path) -> None:
    file = tmp_path / "file"
    files = StillFiles(DirectoryFiles())
    with pytest.raises(FileNotFoundError):
        files.stat(str(file))
    file.write_text("1")
    assert files.stat(str(file)).st_size == 1
    file.write_text("22")
    assert files.stat(str(file)).st_size == 1
    assert files.read(str(file)) == b"22"
    assert files.listdir(str(tmp_path)) == ["file"]
    assert files.real(str(file)) == str(file)
