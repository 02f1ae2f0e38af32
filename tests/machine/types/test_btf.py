from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.machine.btfwriter import FUNC, PTR, TYPEDEF, BtfWriter, small_kernel

from ukmod.errors import FormatError
from ukmod.machine.types import Btf, Kind, Types, TypeSource

KERNEL = small_kernel().data()


def types(*blobs: bytes) -> Types:
    return Types([TypeSource(Btf(blob)) for blob in blobs])


@pytest.mark.parametrize(
    ("path", "offset"),
    [
        ("thread_info.cpu", 8),
        ("__state", 16),
        ("usage.counter", 20),
        ("half", 24),
        ("numbers", 32),
        ("numbers[1].level", 44),
        ("pid", 64),
    ],
)
def test_a_path_leads_through_nested_anonymous_and_repeated_members(path: str, offset: int) -> None:
    assert types(KERNEL).offset("task_struct", path) == offset


def test_a_bitfield_is_told_by_its_first_byte_and_bits() -> None:
    member = types(KERNEL).member("task_struct", "in_iowait")
    assert (member.offset, member.bit_offset, member.bit_size, member.size) == (48, 1, 3, 4)


def test_what_a_member_is() -> None:
    members = types(KERNEL).struct("task_struct").members
    assert members["pid"].type.typedef == "pid_t"
    assert members["pid"].type.signed
    assert members["__state"].type.name == "unsigned int"
    assert str(members["parent"].type) == "struct task_struct *"
    assert members["numbers"].type.kind is Kind.ARRAY
    assert (members["numbers"].type.count, members["numbers"].size) == (2, 16)


def test_structs_are_known_by_their_typedefs() -> None:
    assert types(KERNEL).sizeof("atomic_t") == 4
    assert list(types(KERNEL).struct("atomic_t").members) == ["counter"]
    assert types(KERNEL).sizeof("unsigned int") == 4


def test_enums_and_prototypes() -> None:
    assert types(KERNEL).enum("pid_type").values == {"PIDTYPE_PID": 0, "PIDTYPE_TGID": 1}
    assert types(KERNEL).enum("errors").values == {"EPERM": -1}
    assert str(types(KERNEL).prototype("wake_up")) == "int wake_up(struct task_struct * task, ...)"
    assert types(KERNEL).prototype("sleep") is None


def test_a_modules_btf_goes_on_from_the_kernels() -> None:
    base = small_kernel()
    module = BtfWriter(base)
    module.aggregate("own", 8, ("count", 1, 0))
    module.add(FUNC, "own_function", module.prototype(module.add(PTR, size=module.next - 1)))
    kernel = Btf(base.data())
    split = Types([TypeSource(Btf(module.data(), base=kernel))])
    assert split.member("own", "count").type.name == "unsigned int"
    assert split.sizeof("task_struct") == 72
    assert str(split.prototype("own_function")) == "struct own * own_function(void)"


def test_a_type_defined_by_itself() -> None:
    btf = BtfWriter()
    btf.add(TYPEDEF, "a", 2)
    btf.add(TYPEDEF, "b", 1)
    with pytest.raises(FormatError, match="defined by itself"):
        types(btf.data()).sizeof("a")


def test_a_struct_that_contains_itself() -> None:
    btf = BtfWriter()
    btf.aggregate("", 8, ("a", 1, 0), ("b", 1, 32))
    btf.add(TYPEDEF, "loop", 1)
    with pytest.raises(FormatError, match="defined by itself"):
        types(btf.data()).struct("loop")


def test_a_struct_with_a_tag_that_is_its_own_unnamed_member() -> None:
    btf = BtfWriter()
    btf.aggregate("loop", 8, ("a", 1, 0), ("", 1, 32))
    with pytest.raises(FormatError, match="struct loop is defined by itself"):
        types(btf.data()).struct("loop")


@pytest.mark.parametrize("tag", ["", "tag"])
def test_exponentially_many_ways_to_one_type(tag: str) -> None:
    btf = BtfWriter()
    for number in range(30):
        members = [("", max(number, 1), 0)] * 8 if number else [("x", 0, 0)]
        btf.aggregate(f"{tag}{number}" if tag else "", 8, *members)
    btf.add(TYPEDEF, "bomb", 30)
    assert list(types(btf.data()).struct("bomb").members) == ["x"]


@pytest.mark.parametrize("size", range(0, len(KERNEL), 7))
def test_cut_off(size: int) -> None:
    with pytest.raises(FormatError):
        Btf(KERNEL[:size])


@given(st.dictionaries(st.integers(0, len(KERNEL) - 1), st.integers(0, 255), min_size=1, max_size=8))
def test_damaged(changes: dict[int, int]) -> None:
    data = bytearray(KERNEL)
    for at, byte in changes.items():
        data[at] = byte
    with contextlib.suppress(FormatError):
        source = TypeSource(Btf(bytes(data)))
        for name in ("task_struct", "atomic_t", "module", "pid_t"):
            source.struct(name)
            source.type(name)
        source.enum("pid_type")
        source.prototype("wake_up")
