"""Our modprobe against the C one on Debian's tree: the same output, messages and exit status.

The C tool is Debian 12's kmod 30. What later versions do otherwise, and ukmod with them, is left out here
(``-n`` prints without ``-v``, paths are modules, the library's messages name no line of its source); the rest
is compared byte for byte.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.kmod.fakehost import Text
from tests.real import debian

from ukmod.kmod.linux import LinuxHost
from ukmod.kmod.tools import modprobe

pytestmark = pytest.mark.real

ENVIRONMENT = {"PATH": "/usr/sbin:/sbin:/usr/bin:/bin", "LC_ALL": "C.UTF-8"}


class Outcome(NamedTuple):
    status: int
    output: str
    messages: str


class Quiet(LinuxHost):
    """This machine, with an environment and streams of its own."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__()
        self.environ = dict(ENVIRONMENT)
        self.stdout = Text()
        self.stderr = Text()


class Trees(NamedTuple):
    """A root with a module tree that the C depmod has been over."""

    root: Path
    release: str

    def arguments(self, *words: str) -> list[str]:
        return ["-d", str(self.root), "-S", self.release, *words]

    @property
    def directory(self) -> Path:
        return self.root / "lib/modules" / self.release


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Trees:
    image = debian.require("modprobe", "depmod")
    trees = Trees(tmp_path_factory.mktemp("root"), image.release)
    # Symbolic links would be resolved by neither tool, but file systems differ in hard links across them.
    shutil.copytree(image.modules, trees.directory, copy_function=_link_or_copy)
    subprocess.run(["depmod", "-b", trees.root, image.release], check=True, env=ENVIRONMENT)
    return trees


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def ours(arguments: Sequence[str]) -> Outcome:
    host = Quiet()
    status = modprobe.main(["modprobe", *arguments], host)
    return Outcome(status, host.stdout.text, host.stderr.text)  # type: ignore[attr-defined]


def theirs(arguments: Sequence[str]) -> Outcome:
    result = subprocess.run(
        ["modprobe", *arguments], capture_output=True, encoding="utf-8", env=ENVIRONMENT, check=False
    )
    return Outcome(result.returncode, result.stdout, result.stderr)


def compare(commands: Sequence[Sequence[str]]) -> None:
    with ThreadPoolExecutor(2) as executor:
        expected = list(executor.map(theirs, commands))
    different = [
        (command, mine, outcome)
        for command, outcome in zip(commands, expected, strict=True)
        if (mine := ours(command)) != outcome
    ]
    assert different == []


def names(tree: Trees) -> list[str]:
    lines = (tree.directory / "modules.dep").read_text().splitlines()
    return [line.partition(":")[0].rpartition("/")[2].partition(".")[0] for line in lines]


@pytest.mark.slow
def test_show_depends_of_every_module(tree: Trees) -> None:
    compare([tree.arguments("-C", "/dev/null", "-D", name) for name in names(tree)])


def concrete(pattern: str, dice: random.Random) -> str:
    """Return a text that an alias matches, as a device or a kernel function would ask for it."""
    text, at = [], 0
    while at < len(pattern):
        char = pattern[at]
        if char == "*":
            text.append(dice.choice(["", "0", "00FF1234", "x-y"]))
        elif char == "?":
            text.append(dice.choice("0Aa7"))
        elif char == "[":
            end = pattern.index("]", at + 1)
            text.append(pattern[at + 1])
            at = end
        else:
            text.append(char)
        at += 1
    return "".join(text)


@pytest.mark.slow
def test_show_depends_of_two_thousand_aliases(tree: Trees) -> None:
    dice = random.Random(6)
    lines = (tree.directory / "modules.alias").read_text().splitlines()[1:]
    aliases = [concrete(line.split()[1], dice) for line in dice.sample(lines, 2000)]
    compare([tree.arguments("-C", "/dev/null", "-D", alias) for alias in aliases])


CONFIGURATIONS = {
    "blacklist": "blacklist nfs\nblacklist virtio-blk\n",
    "install": "install nfs /bin/false $CMDLINE_OPTS\ninstall sun* /bin/true\ninstall mine echo\n",
    "softdep": "softdep nfs pre: loop post: ext4 nosuch\nsoftdep loop pre: nfs\n",
    "softdep drops install": "install ext4 /bin/false\nsoftdep loop  pre: nfs\nsoftdep nfs pre:\n",
    "options": "options nfs a=1\tb=2\noptions fs-nfs c=3 \\\n  d\noptions loop   x\n",
    "alias": "alias nfs4 nfs\nalias fs-* loop\nalias loop off\nalias x-[a-c] ext4\n",
    "weak": "weakdep nfs loop ext4\nremove nfs /bin/true\n",
}
WORDS = [
    "nfs",
    "fs-nfs",
    "nfs4",
    "loop",
    "ext4",
    "fs-ext4",
    "x-b",
    "x-[",
    "mine",
    "virtio_blk",
    "nosuch",
    "unix",
]
OPTIONS = [
    ["-D"],
    ["-n", "-v"],
    ["-R"],
    ["-D", "-i"],
    ["-D", "-b"],
    ["-a", "-D"],
    ["-q", "-D"],
    ["-b", "-n", "-v"],
]


@pytest.mark.parametrize("name", [name for name in CONFIGURATIONS if name != "weak"])
def test_configurations(name: str, tree: Trees, tmp_path: Path) -> None:
    (tmp_path / "a.conf").write_text(CONFIGURATIONS[name])
    chosen = tree.arguments("-C", str(tmp_path))
    compare([[*chosen, *options, "--", word] for options in OPTIONS for word in WORDS])


def test_show_config(tree: Trees, tmp_path: Path) -> None:
    for name, text in CONFIGURATIONS.items():
        if name != "weak":  # kmod 30 does not know it
            (tmp_path / f"{name}.conf").write_text(text)
    compare([tree.arguments("-C", str(tmp_path), "-c"), tree.arguments("-c")])


@pytest.mark.parametrize(
    "arguments",
    [
        ["--foo"],
        ["--foo=1"],
        ["-y"],
        ["-C"],
        ["--config"],
        ["--all=3"],
        [],
        ["-q"],
        ["-w", "x", "-r", "y"],
        ["--ver"],
    ],
)
def test_mistakes_on_the_command_line(arguments: list[str]) -> None:
    debian.require("modprobe")
    compare([arguments])


@pytest.mark.parametrize("option", ["--show-modversions", "--show-exports"])
def test_symbols(option: str, tree: Trees) -> None:
    # kmod 30 wants a path here, later versions take names as well.
    kernel = tree.directory / "kernel"
    paths = ["fs/jbd2/jbd2.ko", "lib/crc16.ko", "sound/core/snd-pcm.ko"]
    compare([tree.arguments(option, str(kernel / path)) for path in paths])


@pytest.mark.parametrize("option", ["--show-modversions", "--show-exports"])
def test_symbols_of_a_file_here_of_one_that_is_no_module_and_of_none(
    option: str, tree: Trees, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tree.directory / "kernel" / "lib" / "crc16.ko"
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "crc16.ko").symlink_to(source)
    (tmp_path / "crc16.ko").symlink_to(source)
    (tmp_path / "text.ko").write_text("no module")
    monkeypatch.chdir(tmp_path)
    files = ("here/crc16.ko", "./crc16.ko", "crc16.ko", "text.ko", "./text.ko", "nowhere/none.ko", "/none.ko")
    compare([tree.arguments(option, *quiet, file) for file in files for quiet in ((), ("-q",))])
