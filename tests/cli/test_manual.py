"""The manual pages and the completion in share/ say what the commands' parsers say."""

from __future__ import annotations

import shlex
import subprocess
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

from ukmod.cli import COMMANDS

REPOSITORY = Path(__file__).resolve().parents[2]
SHARE = REPOSITORY / "share"

spec = spec_from_file_location("manual", REPOSITORY / "tools" / "manual.py")
assert spec is not None
assert spec.loader is not None
manual = module_from_spec(spec)
spec.loader.exec_module(manual)


@pytest.fixture(scope="module")
def made() -> dict[str, str]:
    files: dict[str, str] = manual.files()
    return files


def test_what_is_kept_is_what_would_be_made(made: dict[str, str]) -> None:
    paths = [path for path in SHARE.rglob("*") if path.is_file()]
    kept = {path.relative_to(SHARE).as_posix(): path.read_text() for path in paths}
    assert kept == made, "run `make manual`"


def test_the_width_of_the_terminal_changes_nothing(
    made: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "50")
    assert manual.files() == made


@pytest.mark.parametrize("name", COMMANDS)
def test_a_page_has_each_option_and_the_exit_statuses(name: str, made: dict[str, str]) -> None:
    text = made[f"man/man1/ukmod-{name}.1"]
    for action in manual.parsers()[name]._actions:
        assert all(option.replace("-", r"\-") in text for option in action.option_strings)
    assert ".SH EXIT STATUS" in text
    assert ".SH EXAMPLES" in text


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("ukmod sur", {"survey"}),
        ("ukmod modin", {"modinfo"}),
        ("ukmod help exp", {"explain"}),
        ("ukmod run --ker", {"--kernel"}),
        ("ukmod run hel", {"hello.ko"}),
        ("ukmod run hello.ko --js", {"--json"}),
        ("ukmod survey -d tr", {"tree"}),
        ("ukmod closure --on-missing w", {"warn"}),
    ],
)
def test_bash_completes(line: str, offered: set[str], tmp_path: Path) -> None:
    (tmp_path / "hello.ko").touch()
    (tmp_path / "tree").mkdir()
    words = line.split(" ")
    script = (
        f"source {shlex.quote(str(SHARE / 'bash-completion/completions/ukmod'))}\n"
        f"COMP_WORDS=({shlex.join(words)}); COMP_CWORD={len(words) - 1}\n"
        f'_shtab_ukmod; printf "%s\\n" "${{COMPREPLY[@]}}"'
    )
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == offered, done.stderr
