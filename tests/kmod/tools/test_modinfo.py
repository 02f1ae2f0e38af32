"""modinfo as a program; tests/real/test_modinfo.py has the C one beside it on thousands of modules."""

from __future__ import annotations

import json
import lzma
from pathlib import Path

import pytest
from tests import elfwriter, signing
from tests.elfwriter import Section
from tests.kmod.fakehost import FakeHost, memory_tree

from ukmod.kmod.tools import modinfo

PARAMETERS = ("parmtype=n:int", "parm=n:how many", "parm=z:last")
FIELDS = (
    "license=GPL",
    "alias=a",
    "alias=b",
    "depends=x,y",
    "parmtype=n:int",
    "parm=n:how many",
    "parm=z:last",
)
LISTING = """\
filename:       /user.ko
license:        GPL
alias:          a
alias:          b
depends:        x,y
name:           user
parm:           z:last
parm:           n:how many (int)
"""


@pytest.fixture
def host(tmp_path: Path) -> FakeHost:
    (tmp_path / "user.ko").write_bytes(elfwriter.module("user", *FIELDS))
    directory = tmp_path / "lib/modules/4.4.4"
    directory.mkdir(parents=True)
    (directory / "modules.builtin.modinfo").write_bytes(b"unix.license=GPL\0unix.parm=x\0")
    return FakeHost(tmp_path)


def run(host: FakeHost, *arguments: str) -> int:
    return modinfo.main(["/sbin/modinfo", *arguments], host)


def test_the_parameters_come_last_and_backwards(host: FakeHost) -> None:
    assert run(host, "/user.ko") == 0
    assert host.stdout.text == LISTING


@pytest.mark.parametrize("target", elfwriter.TARGETS, ids=lambda target: f"{target.bits}-{target.order}")
def test_modules_of_any_machine(host: FakeHost, tmp_path: Path, target: elfwriter.Target) -> None:
    (tmp_path / "user.ko").write_bytes(elfwriter.module("user", *FIELDS, target=target))
    assert run(host, "/user.ko") == 0
    assert host.stdout.text == LISTING


def test_compressed_modules(host: FakeHost, tmp_path: Path) -> None:
    (tmp_path / "user.ko.xz").write_bytes(lzma.compress(elfwriter.module("user", *FIELDS)))
    assert run(host, "/user.ko.xz") == 0
    assert host.stdout.text == LISTING.replace("user.ko", "user.ko.xz")


@pytest.mark.parametrize(
    ("arguments", "output"),
    [
        (["-F", "alias"], "a\nb\n"),
        (["-0", "-F", "alias"], "a\0b\0"),
        (["-l"], "GPL\n"),
        (["-n"], "/user.ko\n"),
        (["-p"], "z:last\nn:how many (int)\n"),
        (["-F", "parmtype"], "n:int\n"),
        (["-F", "Alias"], ""),
        (["--field=name"], "user\n"),
    ],
)
def test_one_field(host: FakeHost, arguments: list[str], output: str) -> None:
    assert run(host, *arguments, "/user.ko") == 0
    assert host.stdout.text == output


def test_a_type_without_description_is_shown_in_two_ways(host: FakeHost, tmp_path: Path) -> None:
    """kmod writes `name:type` in the listing and `name: (type)` for -p; so be it."""
    (tmp_path / "user.ko").write_bytes(elfwriter.module("", "parmtype=n:int"))
    run(host, "/user.ko")
    run(host, "-p", "/user.ko")
    assert host.stdout.text == "filename:       /user.ko\nparm:           n:int\nn: (int)\n"


def test_null_pads_three_keys_all_the_same(host: FakeHost) -> None:
    assert run(host, "-0", "/user.ko") == 0
    assert host.stdout.text == (
        "filename:       /user.ko\0license=GPL\0alias=a\0alias=b\0depends=x,y\0name=user\0"
        "parm:           z:last\0parm:           n:how many (int)\0"
    )


def test_a_long_key_is_not_padded(host: FakeHost, tmp_path: Path) -> None:
    (tmp_path / "user.ko").write_bytes(elfwriter.module("", "a_rather_long_key=1", "fifteen_letters=2"))
    assert run(host, "/user.ko") == 0
    assert host.stdout.text.splitlines()[1:] == ["a_rather_long_key:1", "fifteen_letters:2"]


def test_a_built_in_module_has_no_file(host: FakeHost) -> None:
    host.tree = memory_tree({}, builtin=("unix",), files=host.files)
    assert run(host, "unix") == 0
    assert host.stdout.text == "name:           unix\nfilename:       (builtin)\nlicense:        GPL\n"
    assert host.stderr.text == "modinfo: ERROR: Found invalid \"parm=x\": missing ':'\n"
    assert run(host, "-m", "unix_") == 1
    assert host.stderr.text.endswith("modinfo: ERROR: Module name unix_ not found.\n")


def test_the_build_id_is_there_for_who_asks(host: FakeHost, tmp_path: Path) -> None:
    """kmod 34 does not list it; its successor does."""
    note = b"\x04\0\0\0\x02\0\0\0\x03\0\0\0GNU\0\xab\xcd"
    data = elfwriter.module("user", sections=[Section(".note.gnu.build-id", note)])
    (tmp_path / "user.ko").write_bytes(data)
    assert run(host, "/user.ko") == run(host, "-F", "build-id", "/user.ko") == 0
    assert host.stdout.text == "filename:       /user.ko\nname:           user\nAB:CD\n"


def test_json(host: FakeHost, tmp_path: Path) -> None:
    data = signing.sign(elfwriter.module("user", *FIELDS), signing.signer())
    (tmp_path / "user.ko").write_bytes(data)
    assert run(host, "--json", "/user.ko") == 0
    (value,) = json.loads(host.stdout.text)
    assert (value["name"], value["filename"], value["builtin"]) == ("user", "/user.ko", False)
    assert value["fields"]["alias"] == ["a", "b"]
    assert value["depends"] == ["x", "y"]
    assert value["parameters"][0] == {"name": "n", "type": "int", "description": "how many"}
    assert value["signature"]["signer"] == "Example key"
    assert value["build_id"] is None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("alias", {"fields": {"alias": ["a", "b"]}}),
        (
            "parm",
            {
                "parameters": [
                    {"name": "n", "type": "int", "description": "how many"},
                    {"name": "z", "type": None, "description": "last"},
                ]
            },
        ),
        ("filename", {}),
    ],
)
def test_json_of_one_field(host: FakeHost, field: str, value: dict[str, object]) -> None:
    assert run(host, "--json", "-F", field, "/user.ko") == 0
    start = {"name": "user", "filename": "/user.ko", "builtin": False}
    assert json.loads(host.stdout.text) == [start | value]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "Invalid argument"),
        (b"not an ELF file at all", "Exec format error"),
        (elfwriter.module("user")[:200], "Invalid argument"),
        (elfwriter.elf([Section(".text")]), "No data available"),
    ],
    ids=["empty", "text", "cut", "without modinfo"],
)
def test_a_file_that_is_no_module(host: FakeHost, tmp_path: Path, data: bytes, reason: str) -> None:
    (tmp_path / "bad.ko").write_bytes(data)
    assert run(host, "/bad.ko", "/user.ko") == 1
    assert host.stderr.text == f"modinfo: ERROR: could not get modinfo from 'bad': {reason}\n"
    assert host.stdout.text == "filename:       /bad.ko\n" + LISTING


def test_what_is_not_there(host: FakeHost) -> None:
    assert run(host, "/none.ko", "none", "a[b") == 1
    assert host.stderr.text == (
        "modinfo: ERROR: Module /none.ko not found.\n"
        "modinfo: ERROR: Module none not found.\n"
        "modinfo: ERROR: Module alias a[b not found.\n"
    )


def test_help_version_and_nonsense(host: FakeHost) -> None:
    assert run(host, "-h") == 0
    assert host.stdout.text.startswith("Usage:\n\tmodinfo [options] <modulename|filename> [args]\nOptions:\n")
    assert run(host, "--version") == 0
    assert "kmod version 34\n" in host.stdout.text
    assert run(host, "-x") == 1
    assert run(host) == 1
    assert host.stderr.text == (
        "/sbin/modinfo: invalid option -- 'x'\nmodinfo: ERROR: missing module or filename.\n"
    )
