"""Roots with links, and boot entries, judged by the C modprobe: explain is never wrong about them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random

import pytest
from tests.kmod.predict import images
from tests.kmod.predict.roots import ODD_ROOTS, OddRoot
from tests.kmod.predict.scenarios import BLOCKED, BUILTIN, LOADED, MODULES, Scenario
from tests.real import judge
from tests.real.judge import Judge
from tests.real.test_blocked import truth

from ukmod import cli

pytestmark = pytest.mark.real

Files = Mapping[str, str]
_ARGUMENTS = (
    *("quiet", "ro", "root=UUID=ab-cd", "console=ttyS0,115200n8", "rd.driver.blacklist=user", "user.debug=x"),
    *("modprobe.blacklist=user", "modprobe.blacklist=lone,user", "modprobe.blacklist=dash_name"),
    *("module_blacklist=user", "module_blacklist=base,other", "modprobe.blacklist=other user.debug=1"),
)
_WORDS = ("user", "al-user", "lone", "net-pf-9", "al-dash", "base", "other", "mid")
_CONFIGURATIONS = ("", "blacklist user\n", "install base /bin/true\n", "options user debug=1\n")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with the C modprobe."""
    judge.require()
    return judge.make(tmp_path_factory.mktemp("roots") / "made", MODULES, BUILTIN).root


@pytest.fixture
def court(made: Path, tmp_path: Path) -> Judge:
    """A copy of it, for one test to change."""
    shutil.copytree(made, tmp_path / "court", symlinks=True)
    return Judge(tmp_path / "court")


@pytest.mark.parametrize("odd", ODD_ROOTS, ids=lambda odd: odd.name)
def test_an_odd_root_is_what_the_table_says(court: Judge, odd: OddRoot) -> None:
    odd.change(court.root)
    meant = court.meant(odd.word) | ({odd.word} & MODULES.keys())
    assert (LOADED if meant <= court.loaded_by(odd.word) else BLOCKED) == odd.verdict


def _grub(lines: list[str]) -> Files:
    entries = [
        f"menuentry 'Linux {at}' --class os {{\n\tinsmod gzio\n\tlinux\t/boot/vmlinuz-4.4.4 ro {line}\n}}\n"
        for at, line in enumerate(lines)
    ]
    other = "menuentry 'other' {\n linux /boot/vmlinuz-5.5.5 module_blacklist=user\n}\n"
    return {"boot/grub/grub.cfg": f"submenu 'All' {{\n{''.join(entries)}}}\n{other}"}


def _grub_with_variables(lines: list[str]) -> Files:
    entries = [
        f"set a{at}='{line}'\nmenuentry \"L{at}\" {{\n linux16 /vmlinuz-4.4.4 ${{a{at}}} \\\n  x=1\n}}\n"
        for at, line in enumerate(lines)
    ]
    return {"boot/grub2/grub.cfg": "".join(entries)}


def _loader_entries(lines: list[str]) -> Files:
    return {
        f"boot/loader/entries/m-{at}.conf": f"title\tL\nlinux /vmlinuz-4.4.4\noptions ro\noptions {line}\n"
        for at, line in enumerate(lines)
    }


def _grub_environment(lines: list[str]) -> Files:
    return {
        "boot/loader/entries/m.conf": "title L\nversion 4.4.4\nlinux /vmlinuz-4.4.4\noptions $kernelopts x\n",
        "boot/grub2/grubenv": f"# GRUB Environment Block\nkernelopts=ro {lines[0]}\n{'#' * 300}",
        "boot/grub2/grub.cfg": "load_env\nblscfg\n",
    }


@pytest.mark.parametrize("entries", [_grub, _grub_with_variables, _loader_entries, _grub_environment])
@pytest.mark.parametrize("seed", range(4))
def test_boot_entries_say_how_the_kernel_is_started(
    court: Judge, entries: Callable[[list[str]], Files], seed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where the entries lead to different ends, nobody can tell."""
    dice = Random(seed)
    count = 1 if entries is _grub_environment else dice.choice([1, 2, 3])
    lines = [" ".join(dice.sample(_ARGUMENTS, dice.randint(0, 3))) for _ in range(count)]
    files = {**entries(lines), "etc/modprobe.d/x.conf": dice.choice(_CONFIGURATIONS)}
    images.configure(court.root, files)
    (court.root / "boot/vmlinuz-4.4.4").touch()
    for word in dice.sample(_WORDS, 3):
        ends = {truth(court, Scenario("", files, word, "", cmdline=line)) for line in lines}
        expected = 2 if len(ends) > 1 else int(ends == {BLOCKED})
        words = ["explain", "-d", str(court.root), "-S", images.RELEASE, word]
        assert cli.main(["ukmod", *words]) == expected, (lines, word, capsys.readouterr().out)
