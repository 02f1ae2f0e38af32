"""Fetching kernels: the plan, the place, and what a fetch leaves that is killed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from hashlib import sha256
from pathlib import Path

import pytest

from ukmod import cli
from ukmod.errors import NotFoundError, UsageError
from ukmod.machine.image.installed import Installed, headers_store, store
from ukmod.packages import fetch
from ukmod.packages.fetch import Fetch, Unpacking, plan_of
from ukmod.packages.relocation import relocate

RELEASE = "6.8.0-45-generic"
IMAGE = (f"linux-image-{RELEASE}", f"linux-modules-{RELEASE}")
HEADERS = (f"linux-headers-{RELEASE}", "linux-headers-6.8.0-45")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache without kernels."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def depends(package: str) -> list[str]:
    return [HEADERS[1]] if package == HEADERS[0] else []


def plan(*, headers: bool, into: str | None = None) -> Fetch:
    return plan_of(RELEASE, [*IMAGE, *HEADERS], depends, headers=headers, into=into)


def test_a_kernel_and_its_headers_have_a_directory_each() -> None:
    kernel = Unpacking(f"{store()}/{RELEASE}", IMAGE)
    assert plan(headers=False) == Fetch(RELEASE, (kernel,))
    assert plan(headers=True) == Fetch(RELEASE, (kernel, Unpacking(f"{headers_store()}/{RELEASE}", HEADERS)))


def test_a_directory_of_the_users_takes_all() -> None:
    assert plan(headers=True, into="x") == Fetch(RELEASE, (Unpacking("x", IMAGE + HEADERS),))


def test_what_is_here_is_not_fetched_again() -> None:
    os.makedirs(f"{store()}/{RELEASE}")
    assert plan(headers=False) == Fetch(RELEASE, ())
    assert [one.packages for one in plan(headers=True).unpackings] == [HEADERS]


def test_what_killed_fetches_left_is_removed_and_no_other_fetch_is_disturbed(tmp_path: Path) -> None:
    (tmp_path / ".fetch-dead/0/boot").mkdir(parents=True)
    (tmp_path / "6.12").mkdir()
    with fetch._workplace(str(tmp_path)) as one:
        with fetch._workplace(str(tmp_path)) as other:
            assert {Path(one), Path(other), tmp_path / "6.12"} == set(tmp_path.iterdir())
        assert os.path.isdir(one)
    assert list(tmp_path.iterdir()) == [tmp_path / "6.12"]


def nothing(*_: object) -> None:
    """Of what a fetch is doing, hear nothing."""


@pytest.mark.parametrize(("word", "into"), [("vmlinuz", None), ("6.12", ".")])
def test_what_makes_no_sense_is_refused_before_anything_is_fetched(word: str, into: str | None) -> None:
    with pytest.raises(UsageError):
        fetch.fetch(word, into=into, tell=nothing)


@pytest.mark.parametrize("suite", ["sid main\ndeb [trusted=yes] http://127.0.0.1 x", "a b", "-x", "", "[x]"])
def test_what_is_no_suite_is_refused_before_anything_is_fetched(suite: str) -> None:
    with pytest.raises(UsageError, match="is not the name of a suite"):
        fetch.fetch("6.12", suites=["sid", suite], tell=nothing)


@pytest.mark.parametrize("before", ["", "KBUILD_OUTPUT=/usr/src/linux-headers-6.1-amd64\n"])
def test_links_and_makefiles_work_where_they_were_unpacked_to(tmp_path: Path, before: str) -> None:
    root = tmp_path / "root"
    (root / "usr/src/linux-headers-6.1-amd64").mkdir(parents=True)
    (root / "usr/src/linux-headers-6.1-common").mkdir()
    (root / "lib/modules/6.1-amd64").mkdir(parents=True)
    (root / "lib/modules/6.1-amd64/build").symlink_to("/usr/src/linux-headers-6.1-amd64")
    (root / "lib/modules/6.1-amd64/elsewhere").symlink_to("/etc/hostname")
    (root / "usr/src/linux-headers-6.1-amd64/Makefile").write_text(
        f"{before}include /usr/src/linux-headers-6.1-common/Makefile\n"
    )
    (root / "usr/src/linux-headers-6.1-common/Makefile").write_text(
        'all:\n\t@cd "$(KBUILD_OUTPUT)" && echo built\n'
    )
    relocate(str(root))
    moved = root.rename(tmp_path / "moved")
    made = subprocess.run(
        ["make", "-s", "-C", moved / "lib/modules/6.1-amd64/build"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert made.stdout == "built\n"
    assert os.readlink(moved / "lib/modules/6.1-amd64/elsewhere") == "/etc/hostname"


# -- with apt, from a mirror in a directory ----------------------------------------------------------------


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A mirror with a kernel in packages like Ubuntu's, which the system's apt is configured to use."""
    place = tmp_path / "mirror"
    place.mkdir()
    module = f"lib/modules/{RELEASE}/kernel/drivers/dummy.ko"
    build = f"usr/src/linux-headers-{RELEASE}/Makefile"
    stanzas = [
        package(place, IMAGE[0], {f"boot/vmlinuz-{RELEASE}": b"image"}),
        package(place, IMAGE[1], {module: compiled("ok_dep")}),
        package(
            place, HEADERS[0], {build: b"include /usr/src/linux-headers-6.8.0-45/Makefile\n"}, HEADERS[1]
        ),
        package(place, HEADERS[1], {"usr/src/linux-headers-6.8.0-45/Makefile": b"all:\n"}),
    ]
    packages = "\n".join(stanzas)
    (place / "Packages").write_text(packages)
    digest = sha256(packages.encode()).hexdigest()
    (place / "Release").write_text(
        f"Origin: Ubuntu\nLabel: Ubuntu\nSuite: noble\nDate: Thu, 01 Jan 2026 00:00:00 UTC\n"
        f"SHA256:\n {digest} {len(packages)} Packages\n"
    )
    etc = tmp_path / "etc"
    (etc / "sources.list.d").mkdir(parents=True)
    (etc / "sources.list").write_text(f"deb [trusted=yes] file:{place} ./\n")
    (etc / "apt.conf").write_text(f'Dir::Etc "{etc}";\n')
    monkeypatch.setenv("APT_CONFIG", str(etc / "apt.conf"))
    return place


def compiled(name: str) -> bytes:
    from tests.golden import modules

    return Path(modules()[name]).read_bytes()


def package(place: Path, name: str, files: dict[str, bytes], needs: str = "") -> str:
    """Build a package into the mirror; its stanza of Packages."""
    tree = place / "tree"
    for path, content in files.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_bytes(content)
    (tree / "DEBIAN").mkdir()
    control = (
        f"Package: {name}\nVersion: 1\nArchitecture: amd64\nMaintainer: nobody <a@b.org>\nDescription: x\n"
    )
    control += f"Depends: {needs}\n" if needs else ""
    (tree / "DEBIAN/control").write_text(control)
    file = place / f"{name}.deb"
    subprocess.run(["dpkg-deb", "--build", "--root-owner-group", tree, file], check=True, capture_output=True)
    shutil.rmtree(tree)
    data = file.read_bytes()
    return f"{control}Filename: ./{file.name}\nSize: {len(data)}\nSHA256: {sha256(data).hexdigest()}\n"


@pytest.mark.real
def test_a_kernel_comes_with_modules_indexes_and_headers(
    mirror: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["ukmod", "kernel", "fetch", "6.8", "--headers", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "ukmod.kernels/1"
    kernel = Installed(**document["kernels"][0])
    assert kernel.release == RELEASE
    assert kernel.image == f"{store()}/{RELEASE}/boot/vmlinuz-{RELEASE}"
    assert Path(kernel.modules, "modules.dep").read_text() == "kernel/drivers/dummy.ko:\n"
    subprocess.run(["make", "-s", "-C", kernel.headers], check=True)
    assert os.listdir(store()) == os.listdir(headers_store()) == [RELEASE]
    shutil.rmtree(mirror)  # what is here by its whole name needs no mirror
    assert cli.main(["ukmod", "kernel", "fetch", RELEASE, "--headers"]) == 0


@pytest.mark.real
def test_a_kernel_may_go_into_a_directory_of_its_own(mirror: Path, tmp_path: Path) -> None:
    into = tmp_path / "some/place"
    assert cli.main(["ukmod", "kernel", "fetch", "6.8", "--into", str(into)]) == 0
    assert (into / f"boot/vmlinuz-{RELEASE}").read_bytes() == b"image"
    assert os.listdir(into.parent) == ["place"]
    assert not os.path.exists(store())


@pytest.mark.real
@pytest.mark.parametrize("broken", [*IMAGE, HEADERS[1]])
def test_a_package_that_cannot_be_fetched_leaves_nothing(
    mirror: Path, broken: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (mirror / f"{broken}.deb").write_bytes(b"not what the list says")
    assert cli.main(["ukmod", "kernel", "fetch", "6.8", "--headers"]) == cli.NOT_RUN
    assert "apt-get: E: " in capsys.readouterr().err
    assert [name for name in os.listdir(store()) if name.startswith(".")] == []
    assert not os.path.exists(headers_store())
    assert os.listdir(store()) == ([RELEASE] if broken in HEADERS else [])


@pytest.mark.real
def test_a_kernel_that_no_mirror_has_names_where_it_was_looked_for(mirror: Path) -> None:
    with pytest.raises(
        NotFoundError, match=r"6\.12: there is no such kernel in the system's own sources: name"
    ):
        fetch.fetch("6.12", tell=nothing)


@pytest.mark.real
def test_what_apt_complains_of_comes_line_by_line(mirror: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["ukmod", "kernel", "fetch", "6.12", "--suite", "nosuch"]) == cli.NOT_RUN
    first, *complaints = capsys.readouterr().err.splitlines()
    assert first.endswith("there is no such kernel in nosuch: name other suites with --suite")
    assert {line.partition(":")[0] for line in complaints} == {"Err", "E"}


def test_without_apt_it_says_what_to_download(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert cli.main(["ukmod", "kernel", "fetch", "6.12"]) == cli.NOT_RUN
    said = capsys.readouterr().err
    assert "Fedora: kernel-core" in said
    assert store() in said


def test_kernels_are_listed_for_people_and_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    root = Path(store(), RELEASE)
    (root / "boot").mkdir(parents=True)
    (root / f"boot/vmlinuz-{RELEASE}").touch()
    assert cli.main(["ukmod", "kernel", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines if line.startswith(RELEASE)] == [
        [RELEASE, "image", str(root / f"boot/vmlinuz-{RELEASE}")]
    ]
    assert cli.main(["ukmod", "kernel", "list", "--json"]) == 0
    assert RELEASE in {one["release"] for one in json.loads(capsys.readouterr().out)["kernels"]}


def test_the_headers_of_a_kernel_are_printed_for_make(capsys: pytest.CaptureFixture[str]) -> None:
    kernel = Path(store(), RELEASE, "boot")
    kernel.mkdir(parents=True)
    (kernel / f"vmlinuz-{RELEASE}").touch()
    assert cli.main(["ukmod", "kernel", "headers", "6.8"]) == cli.NOT_RUN
    assert "ukmod kernel fetch 6.8 --headers" in capsys.readouterr().err
    build = Path(headers_store(), RELEASE, f"usr/src/linux-headers-{RELEASE}")
    build.mkdir(parents=True)
    (build / "Makefile").touch()
    assert cli.main(["ukmod", "kernel", "headers", "6.8"]) == 0
    assert capsys.readouterr().out == f"{build}\n"
