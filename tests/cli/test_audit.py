from __future__ import annotations

import io
import json
import re
from pathlib import Path

import junitparser
import pytest
from sarif_pydantic import Sarif
from tests.kmod.predict import images
from tests.kmod.predict.scenarios import MODULES
from tests.pages import whole

from ukmod import cli
from ukmod.kmod import depmod


@pytest.fixture
def root(tmp_path: Path) -> Path:
    images.make(tmp_path)
    text = "blacklist lone\ninstall soft /bin/false\ninstall base /bin/false\n"
    images.configure(tmp_path, {"etc/modprobe.d/x.conf": text})
    return tmp_path


def audit(root: Path, *arguments: str) -> int:
    return cli.main(["ukmod", "audit", *arguments, "-d", str(root)])


def test_a_tree_is_summed_up_with_the_denials_that_fail(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert audit(root) == 1
    assert capsys.readouterr().out == (
        "9 modules: 6 open, 3 blocked, 0 unknown\n"
        f"{root}/etc/modprobe.d/x.conf:2: error: install soft /bin/false: soft is loaded all the same:"
        " by its name, alias al_soft\n"
    )
    assert audit(root, "--notes") == 1
    assert "x.conf:1: note: blacklist lone closes its aliases" in capsys.readouterr().out


def test_each_route_of_a_module_that_is_named(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert audit(root, "lone", "base") == 0
    lines = capsys.readouterr().out.splitlines()
    where = f"({root}/etc/modprobe.d/x.conf"
    assert lines[0] == "base: blocked"
    assert lines[5:8] == [
        "lone: open",
        "  open    name: lone",
        f"  blocked alias: al_lone, net_pf_9: it is blacklisted {where}:1)",
    ]


def test_block_proves_or_says_what_blocks(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert audit(root, "block", "base") == 0
    assert capsys.readouterr().out == "base: blocked by each of its 5 routes\n"
    assert audit(root, "block", "base", "soft", "bi") == 1
    output = capsys.readouterr().out
    assert f"at the head of {root}/etc/modprobe.d/00-block.conf:\n    softdep soft pre:\n" not in output
    assert "    install soft /bin/false\n    softdep soft pre:\n" in output
    assert "no line of modprobe.d or of the kernel's command line is known to block it" in output


def test_a_page_has_the_findings_and_each_route(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert audit(root, "--html") == 1
    found = whole(capsys.readouterr().out)
    text = "".join(found.text)
    assert "9 modules: 6 open, 3 blocked, 0 unknown" in text
    assert "install soft /bin/false: soft is loaded all the same" in text
    assert "blocked alias net_pf_9: it is blacklisted" in text
    assert found.counts["table"] == 2
    assert audit(root, "--html", "block", "base") == 0
    whole(capsys.readouterr().out)


def test_hostile_names_are_text_in_a_page(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = 'install lone </code></table><script>alert(1)</script> \x1b[2J &amp; "\n'
    (root / "etc/modprobe.d/y.conf").write_text(line)
    audit(root, "--html")
    page = capsys.readouterr().out
    whole(page)
    assert "<script>alert" not in page


def test_json_follows_its_schema(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert audit(root, "--json") == 1
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "ukmod.audit/1"
    assert (document["root"], document["release"]) == (str(root), "4.4.4")
    assert document["counts"] == {"open": 6, "blocked": 3, "unknown": 0}
    base = document["modules"][0]
    assert (base["module"], base["verdict"], len(base["routes"])) == ("base", "blocked", 5)
    assert [one["rule"] for one in document["findings"]] == ["blacklist-by-name", "denied-open"]
    assert audit(root, "block", "soft", "--json") == 1
    (soft,) = json.loads(capsys.readouterr().out)["modules"]
    assert soft["remedy"]["lines"] == ["install soft /bin/false", "softdep soft pre:"]
    assert soft["remedy"]["proven"] is True


def test_the_order_is_the_same_each_time(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outputs = set()
    for _ in range(2):
        audit(root, "--json")
        outputs.add(capsys.readouterr().out)
    assert len(outputs) == 1


@pytest.mark.parametrize("words", [[], ["block", "soft", "lone"]])
def test_sarif_is_what_its_library_takes(
    root: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert audit(root, *words, "--sarif") == 1
    text = capsys.readouterr().out
    run = Sarif.model_validate_json(text).runs[0]
    assert run.results is not None
    rules = [rule.id for rule in run.tool.driver.rules or []]
    assert {one.rule_id for one in run.results} == set(rules)
    if not words:
        (error,) = [one for one in json.loads(text)["runs"][0]["results"] if one["level"] == "error"]
        place = error["locations"][0]["physicalLocation"]
        assert place["artifactLocation"] == {"uri": "etc/modprobe.d/x.conf", "uriBaseId": "ROOT"}
        assert place["region"] == {"startLine": 2}


def test_junit_is_what_its_library_takes(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert audit(root, "--junit") == 1
    document = junitparser.JUnitXml.fromfile(io.StringIO(capsys.readouterr().out))
    (suite,) = document
    assert (suite.tests, suite.failures, suite.skipped) == (9, 1, 0)
    (failed,) = [case for case in suite if case.result]
    assert failed.name == "soft"
    assert isinstance(failed.result[0], junitparser.Failure)


def test_what_nobody_can_tell_has_a_status_and_is_skipped(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / "bin/tool").touch()
    text = "install lone /bin/false\ninstall other /bin/tool\n"
    images.configure(root, {"etc/modprobe.d/x.conf": text})
    assert audit(root) == 2
    assert audit(root, "block", "lone") == 2
    capsys.readouterr()
    assert audit(root, "--junit") == 2
    (suite,) = junitparser.JUnitXml.fromfile(io.StringIO(capsys.readouterr().out))
    assert (suite.failures, suite.skipped) == (0, 1)


@pytest.mark.parametrize(
    "arguments", [["usr"], ["block"], ["block", "usr"], ["--nosuch"], ["-S", "5.5.5"], ["--json", "--sarif"]]
)
def test_a_mistake_is_not_an_answer(
    root: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        status = audit(root, *arguments)
    except SystemExit as done:
        status = done.code  # type: ignore[assignment]
    assert status == 3
    assert capsys.readouterr().out == ""


def test_surface_lists_families_and_their_modules(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert audit(root, "surface", "--kernel", "none") == 0
    output = capsys.readouterr().out
    assert output.startswith("image: none: the families that only its code asks for are missing\n")
    assert re.search(r"\n\nudev asks, for a device +open blocked unknown\n  other ", output)
    assert audit(root, "surface", "--kernel", "none", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["schema"], document["image"]) == ("ukmod.surface/1", None)
    (other,) = document["families"]
    assert (other["name"], other["requests"], other["counts"]["open"]) == ("other", [], 3)
    assert audit(root, "surface", "--kernel", "none", "other") == 0
    assert "  blocked lone: net_pf_9: it is blacklisted\n" in capsys.readouterr().out
    assert audit(root, "surface", "--kernel", "none", "nosuch") == 3
    assert audit(root, "surface", "--kernel", "none", "othr") == 3
    assert "there is no such family; did you mean other" in capsys.readouterr().err
    assert audit(root, "surface", "--kernel", "none", "--sarif") == 3


def test_diff_of_two_roots(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = images.make(tmp_path / "other")
    images.configure(other, {"etc/modprobe.d/x.conf": "blacklist lone\n"})
    assert cli.main(["ukmod", "audit", "diff", str(root), str(root)]) == 0
    assert capsys.readouterr().out == ""
    assert cli.main(["ukmod", "audit", "diff", str(root), str(other)]) == 1
    assert "base: blocked -> open\n  name base: blocked -> open\n" in capsys.readouterr().out
    assert cli.main(["ukmod", "audit", "diff", str(root), str(other), "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["against"]["root"] == str(other)
    assert [one["module"] for one in document["changes"]] == ["base", "mid", "user"]
    assert cli.main(["ukmod", "audit", "diff", "-d", str(root), "4.4.4", "4.4.4"]) == 0
    assert cli.main(["ukmod", "audit", "diff", str(root)]) == 3


@pytest.mark.parametrize("name", ["block", "surface", "diff"])
def test_behind_two_dashes_a_word_is_the_name_of_a_module(
    root: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / "lib/modules" / images.RELEASE / f"kernel/{name}.ko").write_bytes(MODULES["lone"])
    depmod(root, images.RELEASE)
    assert cli.main(["ukmod", "audit", "-d", str(root), "--json", "--", name, "lone"]) in {0, 1, 2}
    document = json.loads(capsys.readouterr().out)
    assert [one["module"] for one in document["modules"]] == sorted([name, "lone"])
    cli.main(["ukmod", "audit", "block", "-d", str(root), "--json", "--", name])
    assert [one["module"] for one in json.loads(capsys.readouterr().out)["modules"]] == [name]


def test_policy_is_printed_if_it_is_proven_and_can_be_checked(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keep = root / "keep"
    keep.write_text("lone # always\nal-other\n")
    words = ["--keep", str(keep), "-d", str(root)]
    assert cli.main(["ukmod", "policy", "check", *words]) == 1
    assert "soft is not kept, and gets in: by its name" in capsys.readouterr().out
    assert cli.main(["ukmod", "policy", "generate", *words]) == 0
    (root / "etc/modprobe.d/00-block.conf").write_text(capsys.readouterr().out)
    assert cli.main(["ukmod", "policy", "check", *words]) == 0
    capsys.readouterr()
    assert cli.main(["ukmod", "policy", "check", *words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["findings"] == []
    keep.write_text("base\n")
    assert cli.main(["ukmod", "policy", "check", *words, "--sarif"]) == 1
    Sarif.model_validate_json(capsys.readouterr().out)
    assert cli.main(["ukmod", "policy", "check", *words, "--junit"]) == 1
    (suite,) = junitparser.JUnitXml.fromfile(io.StringIO(capsys.readouterr().out))
    assert (suite.tests, suite.failures) == (1, 1)
    keep.write_text("nosuch\n")
    assert cli.main(["ukmod", "policy", "generate", *words]) == 3
    assert capsys.readouterr().out == ""
