"""kmod static-nodes: the formats and messages are those of the C tool, seen by running it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.kmod.fakehost import FakeHost

from ukmod.kmod.tools import static_nodes

DEVNAME = """\
# Device nodes to trigger on-demand module loading.
fuse fuse c10:229
snd_timer snd/timer c116:33
loop loop-control b7:0
"""
PATH = "lib/modules/4.4.4/modules.devname"


@pytest.fixture
def host(tmp_path: Path) -> FakeHost:
    (tmp_path / PATH).parent.mkdir(parents=True)
    (tmp_path / PATH).write_text(DEVNAME)
    return FakeHost(tmp_path)


def run(host: FakeHost, *arguments: str) -> int:
    return static_nodes.main(["static-nodes", *arguments], host)


def test_tmpfiles_output_makes_the_directory_of_a_node(host: FakeHost) -> None:
    assert run(host, "--format=tmpfiles") == 0
    assert host.stdout.text == (
        "c! /dev/fuse 0600 - - - 10:229\n"
        "d /dev/snd 0755 - - -\n"
        "c! /dev/snd/timer 0600 - - - 116:33\n"
        "b! /dev/loop-control 0600 - - - 7:0\n"
    )


def test_devname_is_the_file_without_comments(host: FakeHost) -> None:
    assert run(host, "-fdevname") == 0
    assert host.stdout.text == DEVNAME.partition("\n")[2]


def test_human_is_the_default(host: FakeHost) -> None:
    assert run(host) == 0
    assert host.stdout.text.startswith(
        "Module: fuse\n\tDevice node: /dev/fuse\n\t\tType: character device\n\t\tMajor: 10\n\t\tMinor: 229\n"
    )


def test_a_file_is_written_and_its_directory_made(host: FakeHost, tmp_path: Path) -> None:
    assert run(host, "-f", "devname", "-o", "/run/tmpfiles.d/kmod.conf") == 0
    assert (tmp_path / "run/tmpfiles.d/kmod.conf").read_text().startswith("fuse fuse c10:229\n")
    assert host.stdout.text == ""


def test_bad_lines_are_named_and_the_rest_is_done(host: FakeHost, tmp_path: Path) -> None:
    (tmp_path / PATH).write_text("fuse fuse x10:229\nloop loop-control b7:0\n")
    assert run(host, "-f", "devname") == 1
    assert host.stderr.text == "Error: invalid devname entry: fuse fuse x10:229\n"
    assert host.stdout.text == "loop loop-control b7:0\n"


def test_a_tree_without_the_file_has_no_nodes(host: FakeHost, tmp_path: Path) -> None:
    (tmp_path / PATH).unlink()
    assert run(host) == 0
    assert host.stderr.text == "Warning: /lib/modules/4.4.4/modules.devname not found - ignoring\n"


def test_what_cannot_be_read_or_written_is_an_error(host: FakeHost, tmp_path: Path) -> None:
    assert run(host, "-o", "/lib") == 1
    assert host.stderr.text.startswith("Error: could not create /lib - ")
    host.stderr.text = ""
    assert run(host, "-o", f"/{PATH}/x") == 1
    assert host.stderr.text.startswith(f"Error: could not create parent directory for /{PATH}/x - ")
    host.stderr.text = ""
    (tmp_path / PATH).unlink()
    (tmp_path / PATH).mkdir()
    assert run(host) == 1
    assert host.stderr.text == "Error: could not open /lib/modules/4.4.4/modules.devname - Is a directory\n"


def test_an_unknown_format_shows_the_help(host: FakeHost) -> None:
    assert run(host, "-f", "xml") == 1
    assert host.stderr.text == "Unknown format: 'xml'.\n"
    assert host.stdout.text.startswith("Usage:\n\tkmod static-nodes [options]\n")


def test_options_that_are_none(host: FakeHost) -> None:
    assert run(host, "-x") == 1
    assert host.stderr.text == "static-nodes: invalid option -- 'x'\n"
