"""A program that a module starts reaches the files that the user handed in, and no others."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.golden import RELEASE, modules
from tests.kernel.emulator import depmod

from ukmod.kmod.directory import DirectoryFiles
from ukmod.kmod.tree import Tree
from ukmod.userland.files import TreeFiles

CANARY = "canary-5d1c"
SECRET = "7719077"
"""A value in a file of the host; no directory's name."""
"""What no output may ever show."""


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """A host with a secret, a configuration of its own, and a tree below image/ that the user hands in."""
    (tmp_path / "secret.conf").write_text(
        f"alias {CANARY} exporter\noptions exporter init_ms={SECRET}\n{CANARY}\n"
    )
    (tmp_path / "outside.ko").write_bytes(modules()["ok_dep"].read_bytes())
    place = tmp_path / "image" / "lib" / "modules" / RELEASE
    place.mkdir(parents=True)
    for name in ("exporter", "uses_exporter"):
        (place / f"{name}.ko").symlink_to(modules()[name])
    depmod(tmp_path / "image")
    configuration = tmp_path / "image" / "etc" / "modprobe.d"
    configuration.mkdir(parents=True)
    (configuration / "own.conf").write_text("options exporter init_ms=5\n")
    (configuration / "leaves.conf").symlink_to(tmp_path / "secret.conf")
    (configuration / "stays.conf").symlink_to("own.conf")
    os.mkfifo(configuration / "fifo.conf")
    (configuration / "zero.conf").symlink_to("/dev/zero")
    return tmp_path


def of(host: Path) -> TreeFiles:
    root = f"{host}/image"
    tree = Tree.open(root, RELEASE)
    return TreeFiles.of(Tree(tree.dirname, DirectoryFiles(), config_paths=(f"{root}/etc/modprobe.d",)))


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "/dev/zero",
        "{host}/secret.conf",
        "{host}/outside.ko",
        "{host}/image/etc/modprobe.d/../../../secret.conf",
        "{host}/image/lib/modules/REL/../../../../outside.ko",
        "{host}/image/etc/modprobe.d/leaves.conf",
        "{host}/image/etc/modprobe.d/zero.conf",
        "{host}/image/etc/modprobe.d-other",
        "{host}/image",
        "",
        ".",
        "/",
        "../../etc/passwd",
    ],
)
def test_a_path_outside_of_the_tree_does_not_exist(host: Path, path: str) -> None:
    files = of(host)
    path = path.replace("{host}", str(host)).replace("REL", RELEASE)
    for reach in (files.read, files.listdir, files.stat, files.real):
        with pytest.raises(FileNotFoundError):
            reach(path)


def test_files_of_the_tree_are_there(host: Path) -> None:
    files = of(host)
    root = f"{host}/image"
    assert files.read(f"{root}/etc/modprobe.d/own.conf") == files.read(f"{root}/etc/modprobe.d/stays.conf")
    assert "exporter.ko" in files.listdir(f"{root}/lib/modules/{RELEASE}")
    assert Path(files.real(f"{root}/lib/modules/{RELEASE}/exporter.ko")).samefile(modules()["exporter"])


def test_links_are_followed_as_if_the_root_were_the_machine_s_own(host: Path) -> None:
    """The same paths are there outside of the root, with other content."""
    image = host / "image"
    configuration = image / "etc/modprobe.d"
    below = image / str(host).lstrip("/")
    below.mkdir(parents=True)
    (below / "secret.conf").write_text("options exporter init_ms=6\n")
    (image / "shared.conf").write_text("options exporter init_ms=8\n")
    (configuration / "absolute.conf").symlink_to("/etc/modprobe.d/own.conf")
    (configuration / "above.conf").symlink_to("../../../../../../../../../shared.conf")
    (configuration / "twice.conf").symlink_to("/etc/linked/own.conf")
    (image / "etc/linked").symlink_to("/etc/modprobe.d")
    (configuration / "round.conf").symlink_to("round.conf")
    files = of(host)
    place = f"{image}/etc/modprobe.d"
    own = files.read(f"{place}/own.conf")
    assert files.read(f"{place}/leaves.conf") == b"options exporter init_ms=6\n"
    assert files.read(f"{place}/absolute.conf") == files.read(f"{place}/twice.conf") == own
    assert files.read(f"{place}/above.conf") == b"options exporter init_ms=8\n"
    with pytest.raises(OSError, match="Too many levels of symbolic links"):
        files.read(f"{place}/round.conf")


SCRIPT = """
import json, sys
from pathlib import Path
from tests.golden import RELEASE, modules
from tests.kernel.conftest import layouts
from ukmod import Kernel
from ukmod.kmod.directory import DirectoryFiles
from ukmod.kmod.tree import Tree

sys.dont_write_bytecode = True  # an event of this process, in a new checkout
host = sys.argv[1]
root = f"{host}/image"
tree = Tree(f"{root}/lib/modules/{RELEASE}", DirectoryFiles(), config_paths=(f"{root}/etc/modprobe.d",))
attacks = json.loads(sys.argv[2])
reached, said = [], []
WATCHED = ("open", "os.listdir", "os.scandir", "os.chdir", "os.system", "os.exec", "os.posix_spawn",
    "os.fork", "os.symlink", "os.remove", "os.rename", "os.mkdir", "subprocess.Popen", "shutil.copyfile")

def watch(event, arguments):
    if watching and (event in WATCHED or event.startswith("socket.")):
        reached.append([event, str(arguments[0]) if arguments else ""])

watching = False
sys.addaudithook(watch)
with Kernel(tree=tree, types=layouts()) as k:
    k.insmod(modules()["exporter"])
    k.rmmod("exporter")
    watching = True
    for argv, env in attacks:
        finished = k.execute("/sbin/modprobe", *argv, env=env)
        said.append([finished.status, finished.output, sorted(k.modules)])
        for name in list(k.modules):
            k.rmmod(name)
    text = k.dmesg()
    watching = False
print(json.dumps([reached, said, text]))
"""


Attack = tuple[list[str], dict[str, str]]


def attack(host: Path, *attacks: Attack) -> tuple[list[list[str]], list[list[object]], str]:
    """Run modprobe in a machine with these arguments and environments.

    Returns what of the host was reached meanwhile, what each modprobe came to, and the log.
    """
    repository = Path(__file__).parents[2]
    found = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(host), json.dumps(attacks)],
        check=True, capture_output=True, text=True, timeout=100, cwd=repository,
        env={**os.environ, "PYTHONPATH": f"{repository}/src:{repository}"},
    )  # fmt: skip
    reached, said, text = json.loads(found.stdout)
    return reached, said, text


def test_hostile_arguments_and_environments_reach_nothing_else(host: Path) -> None:
    secret, outside = f"{host}/secret.conf", f"{host}/outside.ko"
    image = f"{host}/image"
    reached, said, text = attack(
        host,
        (["exporter"], {}),
        (["-C", secret, "exporter"], {}),
        (["-v", "-C", secret, CANARY], {}),
        (["-c", "-C", secret], {}),
        (["exporter"], {"MODPROBE_OPTIONS": f"-v -C {secret}"}),
        (["-c"], {"MODPROBE_OPTIONS": f"-C {host}"}),
        ([outside], {}),
        (["-d", str(host), "ok_dep"], {}),
        (["-d", f"{image}/../", "-S", RELEASE, "ok_dep"], {}),
        (["-S", f"../../../{host}", "ok_dep"], {}),
        (["-C", "/dev/zero", "exporter"], {}),
        (["-C", "/dev/stdin", "exporter"], {}),
        (["-C", f"{image}/etc/modprobe.d/fifo.conf", "exporter"], {}),
        ([f"{image}/etc/modprobe.d/fifo.conf"], {}),
        (["--dump-modversions", outside], {}),
        (["--show-modversions", secret], {}),
        (["-R", CANARY], {}),
        ([f"{image}/etc/modprobe.d/../../../outside.ko"], {}),
        (["-a", "-s", outside, secret], {"LD_PRELOAD": outside, "HOME": str(host)}),
        (["-D", outside], {}),
        (["--config", f"{image}/etc/modprobe.d/leaves.conf", CANARY], {}),
    )
    assert said.pop(0)[2] == ["exporter"]
    python = {str(Path(p).resolve()) for p in (sys.prefix, sys.base_prefix, Path(__file__).parents[2])}
    python |= {sys.prefix, sys.base_prefix, str(Path(__file__).parents[2])}
    # The pagemap says which pages of the guest's RAM, which is this process's memory, have been written to.
    inside = (image, "/proc/self/pagemap", *(str(path) for path in modules().values()))
    foreign = [
        (event, path)
        for event, path in reached
        if event not in ("open", "os.listdir", "os.scandir") or not path.startswith((*inside, *python))
    ]
    assert foreign == []
    assert CANARY not in text
    assert not [output for _, output, _ in said if SECRET in str(output)]
    assert not [loaded for _, _, loaded in said if "ok_dep" in str(loaded)]
