"""``ukmod run`` on several kernels: which build runs where, and how the results are shown."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from tests.golden import modules
from tests.real import debian

from ukmod import cli
from ukmod.cli.faults import Flaw, blamed, verdict
from ukmod.cli.junit import junit_document
from ukmod.cli.matrix_plan import Build, Runs, Subject, plan, subjects
from ukmod.cli.matrix_report import Cell, Column, Matrix, junit_suites, print_json, print_table
from ukmod.errors import UsageError
from ukmod.machine.image import installed

OLD, NEW = "6.1.0-56-amd64", "6.12.118+deb13-amd64"


def nothing_of_its_own(_release: str, _name: str) -> None:
    """A kernel without modules."""


class TestPlan:
    """Each build runs on the kernel that it was built for."""

    def test_each_kernel_gets_its_build(self) -> None:
        x = Subject("x", (Build("6.1/x.ko", OLD), Build("6.12/x.ko", NEW)), "level=3")
        assert plan([x], [NEW, OLD], nothing_of_its_own) == [
            Runs(NEW, {"x": ("6.12/x.ko", "level=3")}, {}),
            Runs(OLD, {"x": ("6.1/x.ko", "level=3")}, {}),
        ]

    def test_a_build_that_is_missing_is_named(self) -> None:
        x = Subject("x", (Build("6.1/x.ko", OLD),))
        (run,) = plan([x], [NEW], nothing_of_its_own)
        assert run.files == {}
        assert run.missing == {"x": f"no build of x for {NEW}: 6.1/x.ko is for {OLD}"}

    def test_a_file_that_does_not_say_for_which_kernel_it_is_runs_on_any(self) -> None:
        x = Subject("x", (Build("x.ko"),))
        assert [run.files for run in plan([x], [OLD, NEW], nothing_of_its_own)] == [{"x": ("x.ko", "")}] * 2

    def test_without_a_kernel_the_only_build_runs(self) -> None:
        assert plan([Subject("x", (Build("x.ko", OLD),))], [""], nothing_of_its_own)[0].missing == {}

    def test_two_builds_for_one_kernel_are_a_mistake(self) -> None:
        x = Subject("x", (Build("a/x.ko", OLD), Build("b/x.ko", OLD)))
        with pytest.raises(UsageError, match=rf"a/x.ko, b/x.ko: there are several builds of x for {OLD}"):
            plan([x], [OLD], nothing_of_its_own)

    def test_a_name_is_the_kernels_own_module(self) -> None:
        def own(release: str, name: str) -> str | None:
            return f"/{release}/{name}.ko" if release == NEW else None

        new, old = plan([Subject("loop", ())], [NEW, OLD], own)
        assert new.files == {"loop": (f"/{NEW}/loop.ko", "")}
        assert old.missing == {"loop": f"{OLD} has no module loop of its own"}

    def test_the_builds_of_a_module_share_its_parameters(self, tmp_path: Path) -> None:
        words = [(str(copy(tmp_path / "one", "ok_dep")), ""), (str(copy(tmp_path / "two", "ok_dep")), "x=3")]
        (found,) = subjects(words, bool)
        assert found == Subject("ok_dep", tuple(Build(word, debian.RELEASE) for word, _ in words), "x=3")

    def test_builds_with_other_parameters_are_a_mistake(self, tmp_path: Path) -> None:
        file = str(copy(tmp_path, "ok_dep"))
        with pytest.raises(UsageError, match="ok_dep: its builds have different parameters: x=1, x=2"):
            subjects([(file, "x=1"), (file, "x=2")], bool)


def copy(directory: Path, name: str) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copy(modules()[name], directory / f"{name}.ko"))


class TestBlame:
    """Of modules that ran together, the one at fault has the verdict."""

    def test_a_module_is_to_blame_for_what_it_did(self) -> None:
        leak = Flaw("leak", "a", "1 object")
        assert blamed([leak], ["a", "b"]) == {"a": [leak], "b": []}

    @pytest.mark.parametrize("module", ["", "a_dependency"])
    def test_what_nobody_named_did_is_everybodys(self, module: str) -> None:
        oops = Flaw("oops", module, "BUG")
        assert blamed([oops], ["a", "b"]) == {"a": [oops], "b": [oops]}

    def test_the_worst_is_the_verdict(self) -> None:
        assert verdict([]) == "clean"
        assert verdict([Flaw(kind, "a", "") for kind in ("leak", "oops", "fails")]) == "oops"


def matrix() -> Matrix:
    log: Any = SimpleNamespace(
        clean=False, dmesg=({"time": 1000, "level": 6, "text": "x: \x1b[31mred \ufffe"},)
    )
    return Matrix(
        ("x", "driver"),
        (
            Column(
                OLD, "6.1", "/a", (Cell("x", "clean", "x.ko", ()), Cell("driver", "clean", "d.ko", ())), None
            ),
            Column(
                NEW,
                "6.12",
                "/b",
                (
                    Cell("x", "leak", "y.ko", ("1 object of kmalloc-8", "and more")),
                    Cell("driver", "no build", "", ("no build of driver",)),
                ),
                log,
            ),
        ),
    )


class TestReport:
    def test_the_table_has_a_row_for_each_module_and_says_why(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        print_table(matrix())
        assert capsys.readouterr().out.splitlines() == [
            "module  6.1.0-56-amd64  6.12.118+deb13-amd64",
            "x       clean           leak",
            "driver  clean           no build",
            "",
            f"x on {NEW}: leak",
            "  1 object of kmalloc-8",
            "  and more",
            "",
            f"driver on {NEW}: no build",
            "  no build of driver",
            "",
            f"the log of {NEW}:",
            "[    0.000001] x: \\x1b[31mred \ufffe",
        ]

    def test_junit_has_a_suite_for_each_kernel(self) -> None:
        old, new = ET.fromstring(junit_document(junit_suites(matrix())))
        assert old.attrib == {"name": OLD, "tests": "2", "failures": "0", "errors": "0", "skipped": "0"}
        assert (new.get("failures"), new.get("errors")) == ("1", "1")
        leak, missing = new.findall("testcase")
        assert (leak.get("classname"), leak.get("name")) == (NEW, "x")
        failure, error = leak.find("failure"), missing.find("error")
        assert failure is not None
        assert (failure.get("message"), failure.text) == ("leak", "1 object of kmalloc-8\nand more")
        assert error is not None
        assert error.get("message") == "no build"
        assert new.findtext("system-out") == "[    0.000001] x: \\x1b[31mred \ufffd"

    def test_json_has_a_result_for_each_module_and_kernel(self, capsys: pytest.CaptureFixture[str]) -> None:
        clean = Matrix(("x",), matrix().columns[:1])
        print_json(clean)
        document = json.loads(capsys.readouterr().out)
        assert document["schema"] == "ukmod.matrix/1"
        assert document["clean"] is True
        assert document["kernels"] == [{"kernel": OLD, "name": "6.1", "image": "/a"}]
        assert document["results"][0] == {
            "kernel": OLD, "module": "x", "verdict": "clean", "file": "x.ko", "details": [],
        }  # fmt: skip


def run(*arguments: object) -> int:
    return cli.main(["ukmod", "run", "--for", "0.1", *map(str, arguments)])


@pytest.fixture
def here(tmp_path: Path) -> Path:
    for name in ("ok_dep", "exporter", "uses_exporter", "slab", "ret_enodev"):
        copy(tmp_path, name)
    return tmp_path


def verdicts(capsys: pytest.CaptureFixture[str]) -> dict[tuple[str, str], str]:
    document = json.loads(capsys.readouterr().out)
    return {(one["module"], one["kernel"]): one["verdict"] for one in document["results"]}


def test_a_single_kernel_has_a_table_too_if_junit_is_wanted(here: Path) -> None:
    assert run("--junit", here / "junit.xml", here / "ok_dep.ko") == 0
    (suite,) = ET.parse(here / "junit.xml").getroot()
    assert suite.attrib == {"name": "auto", "tests": "1", "failures": "0", "errors": "0", "skipped": "0"}


def test_the_module_at_fault_is_told_from_the_others(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [here / "ok_dep.ko", here / "slab.ko", "part=leak"]
    assert run("--kernel", "none", "--junit", here / "junit.xml", "--json", *files) == 1
    assert verdicts(capsys) == {("ok_dep", "none"): "clean", ("slab", "none"): "leak"}


def test_what_follows_a_module_that_fails_is_not_tried(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [here / "ok_dep.ko", here / "ret_enodev.ko", here / "exporter.ko"]
    assert run("--kernel", "none", "--junit", here / "junit.xml", "--json", *files) == 1
    assert list(verdicts(capsys).values()) == ["clean", "fails", "not tried"]


def test_a_kernel_that_is_not_here_ends_it_before_anything_runs(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(here / "cache"))
    assert run("--kernel", "none", "--kernel", "9.99", here / "ok_dep.ko") == cli.NOT_RUN
    out, err = capsys.readouterr()
    assert out == ""
    assert "9.99: there is no such kernel on this machine: ukmod kernel fetch 9.99" in err


@pytest.mark.real
def test_an_image_runs_the_build_for_it_and_lacks_others(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = here / "other"
    other.mkdir()
    text = (
        (here / "ok_dep.ko")
        .read_bytes()
        .replace(f"vermagic={debian.RELEASE}".encode(), b"vermagic=6.1.0-77-amd64")
    )
    (other / "ok_dep.ko").write_bytes(text)
    (other / "exporter.ko").write_bytes(
        (here / "exporter.ko").read_bytes().replace(b"vermagic=6", b"vermagic=9")
    )
    kernel = debian.require()
    files = [here / "ok_dep.ko", other / "ok_dep.ko", other / "exporter.ko"]
    assert run("--kernel", kernel.vmlinuz, "--kernel", kernel.vmlinuz, *files) == 1
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == ["module", debian.RELEASE]
    assert [row.split()[1:] for row in rows[:2]] == [["clean"], ["no", "build"]]
    assert f"  no build of exporter for {debian.RELEASE}: {other}/exporter.ko is for 9" in "\n".join(rows)


@pytest.mark.real
@pytest.mark.kernels
def test_modules_by_name_are_each_kernels_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    kernels: Sequence[debian.Debian] = [debian.require_other(name) for name in ("bullseye", "trixie")]
    for kernel in kernels:
        (tmp_path / kernel.release).symlink_to(kernel.image)
    # Not by $XDG_CACHE_HOME: there are snapshots of these kernels in the cache.
    monkeypatch.setattr(installed, "store", lambda: str(tmp_path))
    assert run("--kernel", "5.10", "--kernel", "6.12", "--json", "dummy", "loop", "max_loop=2") == 0
    assert len(verdicts(capsys)) == 4
    assert run("--kernel", "5.10", "--json", "loop") == 0


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A cache with the kernel of tools/release, and its headers; the kernel's name."""
    kernel, headers = debian.require(), Path(f"/usr/src/linux-headers-{debian.RELEASE}")
    if not headers.is_dir():
        pytest.skip(f"no {headers}: run {debian.SCRIPT}")
    cache = tmp_path / "cache/ukmod"
    for directory, target in (("kernels", kernel.image), (f"headers/{debian.RELEASE}/usr", Path("/usr/src"))):
        (cache / directory).mkdir(parents=True)
        (cache / directory / (debian.RELEASE if directory == "kernels" else "src")).symlink_to(target)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return debian.RELEASE


@pytest.mark.real
def test_modules_are_built_from_their_source(
    store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in ("exporter", "uses_exporter"):
        shutil.copy(debian.REPOSITORY / f"examples/cases/{name}.c", source)
    (source / "Makefile").write_text("obj-m := uses_exporter.o exporter.o\n")
    assert run("--kernel", store, "--build", source, "--json") == 0
    assert verdicts(capsys) == {("exporter", store): "clean", ("uses_exporter", store): "clean"}
    (source / "exporter.c").write_text("#include <linux/nonesuch.h>\n")
    assert run("--kernel", store, "--build", source, "exporter", "x=3") == 1
    out = capsys.readouterr().out
    assert "exporter.c:1:10: fatal error: linux/nonesuch.h" in out


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--build", "nowhere", "--kernel", "none"], "nowhere: there is no such directory to build"),
        (["--build", "."], "--build takes kernels that were fetched, by name: --kernel 6.12"),
    ],
)
def test_what_cannot_be_built_is_said(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments) in (cli.MISUSED, cli.NOT_RUN)
    assert complaint in capsys.readouterr().err
