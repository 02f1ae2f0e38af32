"""Each document that a command prints for programs follows its schema, docs/reference/json.md.

The commands are counted: one that gets a ``--json`` needs a line in :data:`COMMAND_LINES`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.golden import REPOSITORY, modules
from tests.kmod import moduletree
from tests.kmod.fakehost import FakeHost
from tests.kmod.predict import images
from tests.machine.btfwriter import small_kernel
from tests.real import debian

import ukmod
from ukmod import cli
from ukmod.cli.command_lines import command_line
from ukmod.cli.document import SCHEMAS
from ukmod.kmod import depmod
from ukmod.kmod.tools import lsmod

PAGE = (REPOSITORY / "docs/reference/json.md").read_text()
TYPES: dict[str, Any] = {"boolean": bool, "string": str, "number": (int, float), "object": dict}
MAPS = {"counts", "runs", "classes", "settings"}
"""Members whose members are not named by the schema: they are modules' names, kernels or verdicts."""

COMMAND_LINES = {
    "run": ["run --kernel none --for 0.01 {ko}", "demo"],
    "matrix": ["run --kernel none --for 0.01 --junit {tmp}/report.xml {ko}"],
    "examples": ["examples {tmp}/new"],
    "profile": ["profile {tmp}/vmlinux -o {tmp}/profile --vermagic 6.2"],
    "explain": ["explain -d {root} user net-pf-9 ghost"],
    "audit": ["audit -d {root}", "audit block base soft -d {root}", "audit diff {root} {other}"],
    "surface": ["audit surface -d {root} --kernel none"],
    "policy": ["policy check --keep {tmp}/keep -d {root}", "policy generate --keep {tmp}/keep -d {root}"],
    "lint": ["lint -d {root}"],
    "closure": [
        "closure -d {root} user ghost",
        "closure -d {root} --why base user",
        "closure -d {root} --format manifest user",
    ],
    "fits": ["fits -d {root} {ko} {root}/lib/modules/4.4.4/kernel/user.ko"],
    "graph": ["graph -d {root} user ghost"],
    "survey": ["survey -d {tree} --kernel none --jobs 1 --journal {tmp}/journal"],
    "survey-diff": ["survey diff {tmp}/old {tmp}/old"],
    "kernel": ["kernel check {image}"],
    "kernels": ["kernel list"],
    "tools": ["tools", "tools link {tmp}/sbin"],
}
"""The command lines whose documents are compared, by the name of the schema."""


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """Return an image, another one that denies a module, a tree with a module that runs, and files."""
    root, other, tree = (tmp_path / name for name in ("root", "other", "tree"))
    for image in (root, other):
        images.make(image)
    images.configure(root, {"etc/modprobe.d/x.conf": "install soft /bin/false\nBlacklist x\n"})
    images.configure(other, {"etc/modprobe.d/x.conf": "install lone /bin/false\n"})
    moduletree.write(tree, ok_dep=modules()["ok_dep"].read_bytes())
    depmod(tree)
    (tmp_path / "keep").write_text("lone\n")
    (tmp_path / "ukmod").touch(0o755)  # what the links lead to
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    (tmp_path / "vmlinux").write_bytes(small_kernel().data())
    return {"tmp": tmp_path, "root": root, "other": other, "tree": tree, "ko": modules()["ok_dep"]}


def test_each_command_that_has_json_is_tried() -> None:
    able = {name for name in cli.COMMANDS if "--json" in command_line(name).format_help()}
    lines = [line for group in COMMAND_LINES.values() for line in group]
    assert able == {line.split()[0] for line in lines}
    assert set(COMMAND_LINES) == set(SCHEMAS)


def words(line: str, places: dict[str, Path]) -> list[str]:
    """The words of a command line; a place may have a space in its path."""
    return [word.format(**places) for word in line.split()]


@pytest.mark.parametrize(
    ("schema", "line"),
    [
        pytest.param(schema, line, marks=pytest.mark.real if "{image}" in line else ())
        for schema, lines in COMMAND_LINES.items()
        for line in lines
    ],
)
def test_a_document_follows_its_schema(
    schema: str, line: str, places: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    if "{image}" in line:
        places["image"] = debian.require().vmlinuz
    if schema == "survey-diff":
        cli.main(["ukmod", *words(COMMAND_LINES["survey"][0], places), "--json"])
        shutil.copy(places["tmp"] / "journal", places["tmp"] / "old")
        capsys.readouterr()
    cli.main(["ukmod", *words(line, places), "--json"])
    document = json.loads(capsys.readouterr().out)
    assert document.pop("schema") == f"ukmod.{schema}/{SCHEMAS[schema]}"
    assert document.pop("ukmod") == ukmod.__version__
    text = part(schema)
    assert document
    for name, value in document.items():
        assert is_as_described(name, value, text), (name, value)
    assert members(document) <= set(re.findall("`([^`]+)`", text))


def part(schema: str) -> str:
    """Return the part of the page about a schema, with those that it refers to."""
    text = PAGE.partition(f"## ukmod.{schema}/{SCHEMAS[schema]}:")[2].partition("\n## ")[0]
    assert text, schema
    others = re.findall(r"ukmod\.([a-z-]+)/", text)
    if "as above" in text:  # in the part before
        names = re.findall(r"^## ukmod\.([a-z-]+)/", PAGE, re.MULTILINE)
        others.append(names[names.index(schema) - 1])
    return text + "".join(part(other) for other in others if other != schema)


def members(value: object) -> set[str]:
    """Return the names of all members at any depth."""
    if isinstance(value, list):
        return set().union(*map(members, value))
    if not isinstance(value, dict):
        return set()
    inner = (members(one if name not in MAPS else []) for name, one in value.items())
    return set(value).union(*inner)


def is_as_described(name: str, value: object, text: str) -> bool:
    """Tell whether a member has the type that the table gives it, if there is a table of it."""
    rows = [row for row in text.splitlines() if row.startswith("|")]
    row = next((row for row in rows if f"`{name}`" in row.split("|")[1]), "")
    if not row:
        return True
    _, names, kinds, meaning, *_ = row.split("|")
    if value is None:
        return "null" in kinds + meaning
    every = names.count("`") // 2
    listed = [one.strip() for one in kinds.replace(" or null", "").split(",")]
    kind = listed[re.findall("`([^`]+)`", names).index(name)] if len(listed) == every > 1 else listed[0]
    one = TYPES[kind.removesuffix("s")]
    is_list = isinstance(value, list) and all(isinstance(item, one) for item in value)
    if not kind.endswith("s"):
        return isinstance(value, one)
    return is_list or (every > 1 and len(listed) == 1 and isinstance(value, one))


@pytest.mark.parametrize(
    ("heading", "line"),
    [
        ("`modinfo --json`", "modinfo --json {ko} {root}/lib/modules/4.4.4/kernel/user.ko"),
        ("`modprobe -D --json`", "modprobe -d {root} -S 4.4.4 -D --json -a soft user bi"),
    ],
)
def test_an_array_of_a_drop_in_tool_is_what_the_page_says(
    heading: str, line: str, places: dict[str, Path], capfd: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["ukmod", *words(line, places)]) == 0
    check_array(heading, json.loads(capfd.readouterr().out))


def test_the_array_of_lsmod_is_what_the_page_says() -> None:
    host = FakeHost()
    host.loaded = {"a": (1, ["b"]), "b": (0, [])}
    assert lsmod.main(["lsmod", "--json"], host) == 0
    check_array("`lsmod --json`", json.loads(host.stdout.text))


def check_array(heading: str, found: list[dict[str, Any]]) -> None:
    """Compare the objects with the table behind a heading: the same members, of these types."""
    drop_in = PAGE.partition("## The drop-in tools")[2].partition("\n## ")[0]
    text = drop_in.partition(f"\n{heading}")[2].partition("\n\n`")[0]
    assert text
    assert found
    for one in found:
        for name, value in one.items():
            assert f"`{name}`" in text
            assert is_as_described(name, value, text), (name, value)
        one.pop("fields", None)
        assert members(one) <= set(re.findall("`([^`]+)`", text))
