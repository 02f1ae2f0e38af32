"""``ukmod survey`` as its users see it: what it prints, keeps, returns, and makes of their mistakes."""

from __future__ import annotations

import itertools
import json
import shutil
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.golden import REPOSITORY, modules
from tests.machine.imagewriter import vmlinux
from tests.pages import whole
from tests.processes import all_end, descendants
from tests.real import debian
from tests.real.debian import RELEASE

from ukmod import cli

TREE = {
    "ok_dep": "kernel/drivers/net/ethernet",
    "ret_enodev": "kernel/drivers/net",
    "needs_missing_symbol": "kernel/fs/some",
    "oops": "kernel/fs",
    "exporter": "updates/dkms",
    "uses_exporter": "kernel/lib",
}
"""Where which module is."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, directory in TREE.items():
        add(tmp_path, name, directory)
    return tmp_path


def add(root: Path, name: str, directory: str) -> None:
    there = root / "lib/modules" / RELEASE / directory
    there.mkdir(parents=True, exist_ok=True)
    shutil.copy(modules()[name], there / f"{name}.ko")


def arguments(root: Path, *more: object) -> list[str]:
    return ["ukmod", "survey", "-d", str(root), "-S", RELEASE, "--kernel", "none", *map(str, more)]


def survey(root: Path, *more: object) -> int:
    return cli.main(arguments(root, *more))


def document(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


class TestDiff:
    """What changed between two surveys, whichever way they were kept."""

    @pytest.fixture
    def both(self, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
        """A journal of four modules; a document of others, in which one is missing and one has come."""
        journal = tmp_path / "before.journal"
        survey(root, "--journal", journal, "ok_dep", "ret_enodev", "exporter", "oops")
        line = journal.read_text().replace(
            '"name": "exporter", "kind": "loads"', '"name": "exporter", "kind": "oops"'
        )
        journal.write_text(line.replace('"cause": "ENODEV"', '"cause": "EIO"'))
        capsys.readouterr()
        survey(root, "--json", "ok_dep", "ret_enodev", "exporter", "needs_missing_symbol")
        (tmp_path / "after.json").write_text(capsys.readouterr().out)
        return str(journal), str(tmp_path / "after.json")

    def test_text_and_status(self, both: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
        assert cli.main(["ukmod", "survey", "diff", *both]) == 1
        lines = capsys.readouterr().out.splitlines()
        assert [line.split(":")[0].split() for line in lines] == [
            ["new", "needs_missing_symbol"],
            ["changed", "ret_enodev"],
            ["better", "exporter"],
            ["gone", "oops"],
            ["4", "modules"],
        ]
        assert lines[1] == "changed  ret_enodev: refused (EIO) -> refused (ENODEV)"
        assert cli.main(["ukmod", "survey", "diff", *reversed(both)]) == 1
        assert capsys.readouterr().out.startswith("worse    exporter: clean -> oops")
        assert cli.main(["ukmod", "survey", "diff", both[0], both[0]]) == 0
        assert capsys.readouterr().out == "4 modules: nothing differs\n"

    def test_json_follows_its_schema(
        self, both: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert cli.main(["ukmod", "survey", "diff", *both, "--json"]) == 1
        found = document(capsys)
        assert found["schema"] == "ukmod.survey-diff/1"
        assert found["counts"] == {"worse": 0, "new": 1, "changed": 1, "better": 1, "gone": 1}
        assert (found["worse"], found["before"]["total"]) == (["needs_missing_symbol"], 4)
        page = (REPOSITORY / "docs/reference/json.md").read_text()
        part = page.partition("## ukmod.survey-diff/1")[2].partition("\n## ")[0]
        members = {*found, *found["before"], *found["changes"][0], *found["counts"]} - {"schema"}
        assert {name for name in members if f"`{name}`" not in part} == set()

    def test_what_is_expected_is_not_worse(self, both: tuple[str, str], tmp_path: Path) -> None:
        expect = tmp_path / "expect"
        expect.write_text("needs_missing_symbol unsupported nobody exports it\n")
        assert cli.main(["ukmod", "survey", "diff", "--expect", str(expect), *both]) == 0

    def test_alone_or_behind_another_name_it_is_the_name_of_a_module(
        self, root: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert survey(root, "diff") == 2
        assert "name two journals" in capsys.readouterr().err
        there = root / "lib/modules" / RELEASE / "kernel"
        shutil.copy(modules()["ok_dep"], there / "diff.ko")
        for words in (["diff"], ["ok_dep", "diff"]):
            survey(root, "--json", *words)
            assert [one["name"] for one in document(capsys)["modules"]] == sorted(words)

    def test_two_files_are_named(self, both: tuple[str, str]) -> None:
        assert cli.main(["ukmod", "survey", "diff", both[0]]) == 2
        assert cli.main(["ukmod", "survey", "diff", both[0], "/nowhere"]) == 3
        assert cli.main(["ukmod", "survey", "diff", both[0], __file__]) == 3


class TestOutcome:
    """Tables, or one document; the exit status says whether anything but clean and refused was found."""

    def test_tables(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert survey(root) == 1
        out, err = capsys.readouterr()
        subsystems, causes, slowest = out.split("\n\n")
        assert subsystems.splitlines() == [
            "subsystem       all   clean  refused  unsupported    oops",
            "drivers/net       2       1        1            .       .",
            "fs                2       .        .            1       1",
            "lib               1       1        .            .       .",
            "updates           1       1        .            .       .",
            "all               6       3        1            1       1",
        ]
        assert "     1  refused      ENODEV" in causes
        assert len(slowest.splitlines()) == 1 + len(TREE)
        assert err == ""

    def test_names(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert survey(root, "--json", "ret-enodev", "ok_dep") == 0
        assert [one["name"] for one in document(capsys)["modules"]] == ["ok_dep", "ret_enodev"]

    def test_json(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert survey(root, "--json") == 1
        found = document(capsys)
        assert found["total"] == 6
        assert found["classes"] == {"clean": 3, "refused": 1, "unsupported": 1, "oops": 1}
        refused = next(one for one in found["modules"] if one["name"] == "ret_enodev")
        assert (refused["class"], refused["cause"], refused["subsystem"]) == (
            "refused",
            "ENODEV",
            "drivers/net",
        )

    def test_what_modules_request(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        add(root, "try_then", "kernel/lib")
        survey(root, "--json", "try_then")
        (module,) = document(capsys)["modules"]
        (request,) = module["requests"]
        assert (request["name"], request["result"], request["loaded"]) == ("exporter", 0, ["exporter"])
        assert request["caller"].startswith("try_then_init+0x")
        assert request["resolved"] == [f"{root}/lib/modules/{RELEASE}/updates/dkms/exporter.ko"]

    def test_junit(self, root: Path, tmp_path: Path) -> None:
        path = tmp_path / "survey.xml"
        assert survey(root, "--junit", path, "ok_dep", "ret-enodev", "oops") == 1
        cases = {case.attrib["name"]: case for case in ET.parse(path).iter("testcase")}
        assert set(cases) == {"ok_dep", "ret_enodev", "oops"}
        failures = {
            name: one.attrib["message"] for name, case in cases.items() for one in case.findall("failure")
        }
        assert set(failures) == {"oops"}
        assert failures["oops"].startswith("oops")

    def test_a_page_has_each_module_with_what_it_logged(self, root: Path, tmp_path: Path) -> None:
        path = tmp_path / "survey.html"
        assert survey(root, "--html", path) == 1
        text = "".join(whole(path.read_text()).text)
        for name in TREE:
            assert name in text
        assert "6 modules without a kernel image: 4 are as they should be" in text
        assert "ok_dep: init" in text

    def test_expected_failures_are_no_failures_and_one_that_passes_is_said(
        self, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "expect").write_text("oops oops it is made to\nok-dep leak it did once\n")
        words = ["--expect", tmp_path / "expect", "oops", "ok_dep"]
        assert survey(root, *words, "--junit", tmp_path / "junit.xml") == 0
        out = capsys.readouterr().out
        assert out.endswith("\nexpected to fail: 1\nok_dep: clean; leak was expected: it did once\n")
        (skipped,) = ET.parse(tmp_path / "junit.xml").iter("skipped")
        assert skipped.attrib["message"] == "expected to fail: it is made to"
        assert survey(root, *words, "--json") == 0
        found = document(capsys)
        assert {one["name"]: one["expected"] for one in found["modules"]} == {
            "oops": "it is made to",
            "ok_dep": "",
        }
        assert found["unexpectedly_fine"] == ["ok_dep"]
        assert survey(root, *words, "needs_missing_symbol") == 1

    def test_a_sample_is_always_the_same(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        survey(root, "--json", "--sample", "2")
        first = [one["name"] for one in document(capsys)["modules"]]
        survey(root, "--json", "--sample", "2")
        assert [one["name"] for one in document(capsys)["modules"]] == first
        assert len(first) == 2


def lines(journal: Path) -> list[dict[str, Any]]:
    """A journal's lines as they are the same for two surveys."""
    found = [json.loads(line) for line in journal.read_text().splitlines()]
    del found[0]["date"]
    for line in found[1:]:
        del line["seconds"]
    return found[:1] + sorted(found[1:], key=lambda line: str(line["name"]))


def verdicts(journal: Path) -> int:
    """The number of verdicts that a journal holds."""
    return max(journal.read_text().count("\n") - 1, 0) if journal.exists() else 0


def started(root: Path, *words: object) -> subprocess.Popen[str]:
    """A survey in a process of its own, to be interrupted."""
    # The suite may itself have been started with SIGINT ignored, as a shell starts background jobs.
    inherited = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        command = [sys.executable, "-m", *arguments(root, *words)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    finally:
        signal.signal(signal.SIGINT, inherited)


class TestJournal:
    """--journal: what is known is not tried again."""

    def test_two_surveys_agree(self, root: Path, tmp_path: Path) -> None:
        survey(root, "--journal", tmp_path / "one", "--jobs", "1")
        survey(root, "--journal", tmp_path / "two", "--jobs", "2")
        assert lines(tmp_path / "one") == lines(tmp_path / "two")
        assert len(lines(tmp_path / "one")) == 1 + len(TREE)

    def test_a_survey_goes_on(
        self, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        journal = tmp_path / "journal"
        survey(root, "--journal", journal, "ok_dep", "oops")
        before = journal.read_text()
        survey(root, "--journal", journal)
        assert journal.read_text().startswith(before)
        assert len(lines(journal)) == 1 + len(TREE)
        capsys.readouterr()
        monkeypatch.delattr("ukmod.cli.survey.survey")  # nothing is left to do
        assert survey(root, "--journal", journal, "--json") == 1
        assert document(capsys)["total"] == len(TREE)

    def test_an_interrupted_survey_leaves_a_journal_and_no_process(self, root: Path, tmp_path: Path) -> None:
        add(root, "endless", "kernel/lib")
        journal = tmp_path / "journal"
        words = ("--journal", journal, "--jobs", "1", "--patience", "100", "ok_dep", "endless")
        process = started(root, *words)

        # ok_dep is done, and endless under way in a copy of the process that tries modules.
        def is_under_way() -> bool:
            written = journal.read_text() if journal.exists() else ""
            return written.count("\n") > 1 and len(descendants(process.pid)) > 1

        while not is_under_way():
            time.sleep(0.02)
        workers = descendants(process.pid)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
        assert process.returncode == 130
        assert "clean" in out  # the table of what is done
        text = f"interrupted: 1 of 2 are done; --journal {journal} continues from there"
        assert err == f"ukmod survey: {text}\n"
        assert [line["name"] for line in lines(journal)[1:]] == ["ok_dep"]
        assert all_end(workers)

    def test_a_survey_that_is_killed_again_and_again_tries_each_module_once(
        self, root: Path, tmp_path: Path
    ) -> None:
        """Each time after one verdict more, by each signal in turn. Nothing is lost, nothing doubled."""
        journal = tmp_path / "journal"
        done = 0
        for number in itertools.cycle((signal.SIGKILL, signal.SIGTERM, signal.SIGINT)):
            process = started(root, "--journal", journal, "--jobs", "2")
            while process.poll() is None and verdicts(journal) <= done:
                workers = descendants(process.pid)
                time.sleep(0.01)
            process.send_signal(number)
            process.communicate()
            assert all_end(workers)
            done = verdicts(journal)
            if process.returncode == 1:  # all is done, and oops is not fine
                break
        assert [line["name"] for line in lines(journal)[1:]] == sorted(TREE)


class TestMistakes:
    """A mistake is one line on standard error, status 1, and no traceback."""

    def line(self, capsys: pytest.CaptureFixture[str], *words: object) -> str:
        assert cli.main(["ukmod", "survey", *map(str, words)]) in (cli.MISUSED, cli.NOT_RUN)
        out, err = capsys.readouterr()
        assert out == ""
        assert err.count("\n") == 1
        assert err.startswith("ukmod survey: ")
        return err

    def test_no_tree(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert "no modules of any kernel" in self.line(capsys, "-d", tmp_path)

    def test_no_tree_of_that_release(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert f"(kernels there: {RELEASE})" in self.line(capsys, "-d", root, "-S", "5.0")

    def test_an_empty_tree(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (tmp_path / "lib/modules/5.0").mkdir(parents=True)
        assert "there is no module" in self.line(capsys, "-d", tmp_path, "-S", "5.0")

    def test_unknown_modules(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        words = ("-d", root, "-S", RELEASE, "oops", "nonsense", "more")
        assert "more, nonsense: there is no module of that name" in self.line(capsys, *words)

    def test_no_image_is_found(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        line = self.line(capsys, "-d", root, "-S", RELEASE)
        assert f"no image of kernel {RELEASE} was found (looked for {root}/boot/vmlinuz-{RELEASE}, " in line
        assert line.endswith("name it with --kernel IMAGE, or do without it: --kernel none\n")

    def test_an_image_that_is_not_there(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        line = self.line(capsys, "-d", root, "-S", RELEASE, "--kernel", root / "vmlinuz")
        assert f"{root}/vmlinuz: cannot read: No such file or directory" in line

    def test_another_kernel_s_image(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (root / "vmlinuz").write_bytes(vmlinux())
        line = self.line(capsys, "-d", root, "-S", RELEASE, "--kernel", root / "vmlinuz")
        assert f'it has vermagic "6.1.0-test SMP mod_unload", the modules "{RELEASE} ' in line
        assert f"; no image of kernel {RELEASE} was found (looked for {root}/boot/vmlinuz-{RELEASE}, " in line

    @pytest.mark.parametrize("name", ["", "none/journal"])
    def test_a_journal_that_cannot_be_written(
        self, root: Path, capsys: pytest.CaptureFixture[str], name: str
    ) -> None:
        words = ("-d", root, "-S", RELEASE, "--kernel", "none", "--journal", f"{root}/{name}")
        assert "cannot write: " in self.line(capsys, *words)

    def test_the_journal_of_another_survey(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        words = ("-d", root, "-S", RELEASE, "--kernel", "none", "--journal", root / "journal", "ok_dep")
        cli.main(["ukmod", "survey", *map(str, words)])
        capsys.readouterr()
        line = self.line(capsys, *words, "--for", "2")
        assert "the journal of another survey: its seconds is 1.0, not 2.0" in line

    @pytest.mark.parametrize(
        "words",
        [["--jobs", "0"], ["--jobs", "x"], ["--sample", "0"], ["--for", "inf"], ["--patience", "0"]],
    )
    def test_options_that_make_no_sense(self, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as caught:
            cli.main(["ukmod", "survey", *words])
        assert caught.value.code == 2
        assert capsys.readouterr().err.startswith("usage: ukmod survey")

    def test_no_dask(
        self, root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "distributed", None)
        words = ("-d", root, "-S", RELEASE, "--kernel", "none", "--dask", "tcp://localhost:1")
        assert "pip install 'ukmod[dask]'" in self.line(capsys, *words)


CLUSTER = """
from distributed import LocalCluster
if __name__ == "__main__":
    with LocalCluster(n_workers=1, threads_per_worker=2, dashboard_address=None) as cluster:
        print(cluster.scheduler_address, flush=True)
        input()
"""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a cluster's scheduler. The cluster is a program of its own: its threads have no business here."""
    program = tmp_path_factory.mktemp("cluster") / "cluster.py"
    program.write_text(CLUSTER)
    command = [sys.executable, str(program)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as cluster:
        assert cluster.stdout is not None
        yield cluster.stdout.readline().strip()
        cluster.communicate("\n")


class TestDask:
    """--dask: a cluster's workers do it, and find the same."""

    def survey(self, root: Path, *words: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", *arguments(root, *words)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def test_a_cluster_finds_the_same(self, root: Path, tmp_path: Path, address: str) -> None:
        survey(root, "--journal", tmp_path / "here")
        there = self.survey(root, "--journal", tmp_path / "there", "--dask", address)
        assert (there.returncode, there.stderr) == (1, "")
        assert lines(tmp_path / "here") == lines(tmp_path / "there")

    def test_no_scheduler(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT", "0.5s")
        done = self.survey(root, "--dask", "tcp://127.0.0.1:1")
        assert (done.returncode, done.stdout) == (cli.NOT_RUN, "")
        assert done.stderr.startswith("ukmod survey: tcp://127.0.0.1:1: no Dask scheduler answers: ")
        assert done.stderr.count("\n") == 1


@pytest.mark.real
def test_debians_modules(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In Debian's kernel, which is found by their vermagic."""
    kernel = debian.require()
    words = ["-d", str(kernel.image), "-S", kernel.release, "--journal", str(tmp_path / "journal"), "--json"]
    names = ("e1000e", "ext4", "kvm_intel", "libcrc32c", "nls_cp850", "snd_hda_intel")
    assert cli.main(["ukmod", "survey", *words, *names]) == 0
    found = document(capsys)
    assert found["settings"]["image"] == str(kernel.vmlinuz)
    assert {one["name"]: (one["class"], one["subsystem"], one["cause"]) for one in found["modules"]} == {
        "e1000e": ("clean", "drivers/net", ""),
        "ext4": ("clean", "fs", ""),
        "kvm_intel": ("refused", "arch", "ENOTSUP"),
        "libcrc32c": ("clean", "lib", ""),
        "nls_cp850": ("clean", "fs", ""),
        "snd_hda_intel": ("clean", "sound", ""),
    }
    # The image's own crypto code asks for a module, and is named.
    request = found["modules"][3]["requests"][0]
    assert request["name"] == "crypto-crc32c"
    assert request["caller"].startswith("crypto_alg_mod_lookup+0x")
    resolved = [Path(file).name for file in request["resolved"]]
    assert resolved == ["crc32c-intel.ko", "crc32c_generic.ko"]
    assert request["loaded"] == ["crc32c_generic"]
