from __future__ import annotations

import contextlib
import errno
import gzip
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests import elfwriter
from tests.elfwriter import Section
from tests.machine.btfwriter import BtfWriter, small_kernel

from ukmod.errors import FormatError, LayoutError
from ukmod.kmod.elf import Elf
from ukmod.machine.types import (
    Btf,
    Profile,
    Types,
    TypeSource,
    find_profile,
    read_profile,
    read_types,
    types_for,
)
from ukmod.machine.types.profile import cut, parse_profile, write_profile

VERMAGIC = "6.1.0 SMP mod_unload "
WANTED = ("task_struct", "module", "atomic_t", "pid_t", "pid_type", "not_in_this_kernel")


def profile() -> Profile:
    return cut(Btf(small_kernel().data()), release="6.1.0", vermagic=VERMAGIC, wanted=WANTED)


def module(vermagic: str = VERMAGIC, size: int = 64) -> Elf:
    this = Section(".gnu.linkonce.this_module", bytes(size))
    info = Section(".modinfo", elfwriter.modinfo(f"vermagic={vermagic}"))
    return Elf(elfwriter.elf([this, info]), "example.ko")


@pytest.mark.parametrize("name", ["profile.json", "profile.json.gz"])
def test_what_is_read_is_what_was_written(tmp_path: Path, name: str) -> None:
    path = str(tmp_path / name)
    write_profile(profile(), path)
    read = read_profile(path)
    assert (read.stamp, read.nodes) == (profile().stamp, profile().nodes)
    kernel, kept = TypeSource(Btf(small_kernel().data())), TypeSource(read)
    for wanted in WANTED:
        assert kept.struct(wanted) == kernel.struct(wanted)
        assert kept.type(wanted) == kernel.type(wanted)
        assert kept.enum(wanted) == kernel.enum(wanted)


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS])
def test_a_profile_that_cannot_be_renamed_leaves_the_old_one_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    path = tmp_path / "6.1.0.json"
    path.write_text("old")

    def fail(_source: str, _target: str, **_where: object) -> None:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(LayoutError, match=f"json: cannot write: {os.strerror(error)}$"):
        write_profile(profile(), str(path))
    assert [(left.name, left.read_text()) for left in tmp_path.iterdir()] == [("6.1.0.json", "old")]


def test_a_profile_is_small() -> None:
    names = {node.name for node in profile().nodes}
    assert "thread_info" in names  # task_struct contains it
    assert "errors" not in names


def test_no_profile_without_struct_module() -> None:
    with pytest.raises(LayoutError, match="struct module"):
        cut(Btf(BtfWriter().data()), release="", vermagic="", wanted=WANTED)


@pytest.mark.parametrize(
    ("elf", "fits"),
    [
        (module(), True),
        (module(size=128), False),
        (module("6.1.1 SMP "), False),
        (Elf(elfwriter.elf([])), False),
    ],
    ids=["matches", "another size of struct module", "another vermagic", "no module"],
)
def test_a_profile_must_match_the_module(tmp_path: Path, elf: Elf, fits: bool) -> None:
    write_profile(profile(), str(tmp_path / "6.1.0.json.gz"))
    assert (find_profile(elf, str(tmp_path)) is not None) is fits


def test_types_for_a_module(tmp_path: Path) -> None:
    write_profile(profile(), str(tmp_path / "6.1.0.json"))
    types = types_for(module(), profiles_dir=str(tmp_path))
    assert types.offset("task_struct", "thread_info.cpu") == 8
    assert types.has("task_struct", "__state")
    assert not types.has("task_struct", "state")
    assert not types.has("workqueue_struct")


def test_a_named_btf_comes_first(tmp_path: Path) -> None:
    path = tmp_path / "vmlinux"
    path.write_bytes(small_kernel().data())
    types = types_for(module("another"), btf=str(path), profiles_dir=str(tmp_path))
    assert types.sources == (str(path),)
    assert types.sizeof("task_struct") == 72


def test_nothing_is_known(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match=r"example\.ko: .*--btf FILE.*--kernel VMLINUZ.*debug information"):
        types_for(module(), profiles_dir=str(tmp_path))


@pytest.mark.parametrize(
    ("name", "path", "words"),
    [
        ("task_struct", "state", r"'state' in struct task_struct.*--btf"),
        ("task_struct", "thread_info.x", r"'thread_info\.x' in struct task_struct: 'x'"),
        ("task_struct", "pid.x", "is not a struct but pid_t"),
        ("task_struct", "pid[0]", "pid_t, which is not an array"),
        ("mystery", "x", "struct mystery"),
    ],
)
def test_what_is_missing_is_named(name: str, path: str, words: str) -> None:
    with pytest.raises(LayoutError, match=words):
        Types([TypeSource(profile())]).offset(name, path)


def test_a_later_source_supplies_what_the_first_lacks() -> None:
    other = BtfWriter()
    other.aggregate("private", 8, ("x", other.integer("int", 4), 32))
    other.aggregate("task_struct", 1)
    types = Types([TypeSource(profile()), TypeSource(Btf(other.data()))])
    assert types.offset("private", "x") == 4
    assert types.sizeof("task_struct") == 72


def test_files_that_are_not_there(tmp_path: Path) -> None:
    for read in (read_profile, read_types):
        with pytest.raises(LayoutError, match="cannot read"):
            read(str(tmp_path / "none.json"))


WRITTEN = (
    b'{"format":1,"release":"r","vermagic":"v","sizeof_module":8,"source_sha256":"","types":[{"t":"void"},'
)
WRITTEN += b'{"t":"struct","n":"module","s":8,"f":[["x",2,0,0]]},{"t":"int","n":"int","s":4,"i":1}]}'


@given(st.integers(0, len(WRITTEN)), st.integers(0, 20), st.binary(max_size=12))
def test_damaged(at: int, size: int, other: bytes) -> None:
    with contextlib.suppress(FormatError):
        source = TypeSource(parse_profile(WRITTEN[:at] + other + WRITTEN[at + size :]))
        source.struct("module")
        source.type("module")


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"[]", b"{}", b"null", b"\x1f\x8b", b"\x1f\x8b\x08" + bytes(30), b"[" * 100000),
        gzip.compress(WRITTEN)[:-1],
    ],
)
def test_no_profile(data: bytes) -> None:
    with pytest.raises(FormatError):
        parse_profile(data, "file")
