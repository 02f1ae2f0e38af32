"""explain's verdict for roots with links, lost files and programs by other names."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.kmod.predict import images
from tests.kmod.predict.roots import ODD_ROOTS, OddRoot
from tests.kmod.predict.scenarios import UNKNOWN, Scenario
from tests.kmod.predict.test_blocked import explained

from ukmod.kmod.predict.programs import played_by


@pytest.mark.parametrize("odd", ODD_ROOTS, ids=lambda odd: odd.name)
def test_the_verdict_is_what_modprobe_does(tmp_path: Path, odd: OddRoot) -> None:
    images.make(tmp_path)
    odd.change(tmp_path)
    assert explained(tmp_path, Scenario(odd.name, {}, odd.word, odd.verdict)).verdict == odd.verdict


def test_a_link_to_an_unknown_program_leaves_the_verdict_open(tmp_path: Path) -> None:
    images.make(tmp_path)
    (tmp_path / "bin/false").unlink()
    (tmp_path / "bin/false").symlink_to("/bin/local-policy")
    (tmp_path / "bin/local-policy").touch()
    (tmp_path / "etc/modprobe.d").mkdir(parents=True)
    (tmp_path / "etc/modprobe.d/x.conf").write_text("install user /bin/false\n")
    assert explained(tmp_path, Scenario("", {}, "user", UNKNOWN)).verdict == UNKNOWN


def test_a_file_of_many_programs_is_the_one_that_it_is_called_by() -> None:
    for file in ("busybox", "busybox.static", "kmod", "coreutils", "rust-coreutils", "false"):
        assert played_by(file, "false") == "false"
    assert played_by("dash", "sh") == "dash"
    assert played_by("which.debianutils", "which") == "which"
    assert played_by("true", "false") == "true"
    assert played_by("policy", "false") is None
    assert played_by("busybox", "modprobe") is None  # it is not kmod's
