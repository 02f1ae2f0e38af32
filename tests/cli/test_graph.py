from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from tests.golden import REPOSITORY
from tests.kmod import moduletree
from tests.kmod.moduletree import module
from tests.pages import whole

from ukmod import cli
from ukmod.kmod import depmod
from ukmod.kmod.graphs import ModuleGraph, to_dot, to_mermaid


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A chain of three modules, one of which softly needs a fourth, and a fifth beside them."""
    moduletree.write(
        tmp_path,
        base=module(name="base", exports=["base_fn"]),
        middle=module(name="middle", needs=["base_fn"], exports=["middle_fn"]),
        user=module("softdep=post: soft", name="user", needs=["middle_fn", "base_fn"]),
        soft=module("softdep=pre: user", name="soft"),
        other=module(name="other"),
    )
    depmod(tmp_path)
    return tmp_path


def graph(root: Path, *arguments: str) -> int:
    return cli.main(["ukmod", "graph", "-d", str(root), *arguments])


def test_dot_has_direct_dependencies_and_soft_ones(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert graph(root, "user") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.strip() for line in lines if "->" in line] == [
        '"middle" -> "base";',
        '"user" -> "middle";',
        '"user" -> "soft" [style=dashed];',
        '"soft" -> "user" [style=dashed];',
    ]
    assert '  "user" [style="bold"];' in lines
    assert "other" not in "".join(lines)


def test_mermaid_has_the_same(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert graph(root, "--format", "mermaid", "middle") == 0
    expected = ["flowchart LR", '  m0["base"]', '  m1["middle"]', "  m1 --> m0"]
    assert capsys.readouterr().out.splitlines()[:4] == expected


def test_no_name_is_syntax_of_a_drawing() -> None:
    names = ('"]; click m0 "javascript:x', "a\n  m0 --> m0", "<b>", "`*a*`", "a\\", '"; evil -> "x', "é")
    drawn = ModuleGraph(names, (), frozenset(names), frozenset())
    lines = to_mermaid(drawn).splitlines()
    assert len(lines) == len(names) + 3
    for line in lines[1:-2]:
        assert re.fullmatch(r"  m\d+\[\"[\w .,/()'=+:#;-]*\"\]", line)
    for number, line in enumerate(to_dot(drawn).splitlines()[3:-1]):
        text = re.fullmatch(r'  "((?:[^"\\]|\\.)*)" \[style="bold"\];', line)
        assert text is not None
        assert re.sub(r"\\(.)", r"\1", text[1]) == names[number].replace("\n", "\\x0a")


def test_a_page_is_whole_and_asks_the_network_for_nothing(root: Path) -> None:
    path = root / "page.html"
    assert graph(root, "--format", "html", "-o", str(path), "user") == 0
    text = path.read_text()
    whole(text)
    assert len(re.findall("<rect ", text)) == 4
    assert "<li><code>user</code>: needs middle; softly soft</li>" in text


def test_json_follows_its_schema(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert graph(root, "--json", "user", "nothing") == 1
    found = json.loads(capsys.readouterr().out)
    assert found["schema"] == "ukmod.graph/1"
    assert {"user": "user", "used": "middle", "kind": "dependency"} in found["edges"]
    assert [one["name"] for one in found["missing"]] == ["nothing"]
    assert {one["module"]: one["requested"] for one in found["modules"]}["user"]
    page = (REPOSITORY / "docs/reference/json.md").read_text()
    part = page.partition("## ukmod.graph/1")[2].partition("\n## ")[0]
    members = {*found, *found["modules"][0], *found["edges"][0], *found["missing"][0]} - {"schema", "ukmod"}
    assert {name for name in members if f"`{name}`" not in part} == set()


def test_a_missing_module_is_said(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert graph(root, "nothing", "base") == 1
    found = capsys.readouterr()
    assert found.err == "ukmod graph: module nothing is missing\n"
    assert '"base"' in found.out


def test_the_file_s_suffix_is_the_format(root: Path, tmp_path: Path) -> None:
    starts = {"a.mmd": "flowchart", "a.html": "<!DOCTYPE html>", "a.dot": "digraph", "a": "digraph"}
    for name, start in starts.items():
        assert graph(root, "user", "-o", str(tmp_path / name)) == 0
        assert (tmp_path / name).read_text().startswith(start)
    assert graph(root, "user", "-o", str(tmp_path / "b.mmd"), "--format", "dot") == 0
    assert (tmp_path / "b.mmd").read_text().startswith("digraph")


def test_a_file_from_elsewhere_has_its_own_soft_and_weak_dependencies(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "own.ko"
    file.write_bytes(module("softdep=pre: base user", "weakdep=other", name="own", needs=["base_fn"]))
    assert graph(root, str(file), "user", "--weakdeps") == 0
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert [line for line in lines if line.startswith('"own" ->')] == [
        '"own" -> "base";',
        '"own" -> "base" [style=dashed];',
        '"own" -> "user" [style=dashed];',
        '"own" -> "other" [style=dotted];',
    ]
