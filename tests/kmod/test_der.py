from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ukmod.errors import FormatError
from ukmod.kmod import der


def test_children_come_in_order_with_their_content() -> None:
    sequence = der.parse(bytes.fromhex("3006 0201ff 0401aa"))
    integer, octets = sequence.children()
    assert integer.integer() == -1
    assert octets.content == b"\xaa"
    assert octets.raw == bytes.fromhex("0401aa")


def test_a_long_length_has_its_own_octets() -> None:
    assert der.parse(b"\x04\x82\x01\x00" + bytes(256)).content == bytes(256)


@pytest.mark.parametrize(
    ("encoded", "dotted"),
    [
        ("0609608648016503040201", "2.16.840.1.101.3.4.2.1"),
        ("06092a864886f70d010702", "1.2.840.113549.1.7.2"),
        ("06022b0e", "1.3.14"),
        ("0603883703", "2.999.3"),
    ],
)
def test_object_identifiers_are_dotted(encoded: str, dotted: str) -> None:
    assert der.parse(bytes.fromhex(encoded)).oid() == dotted


@pytest.mark.parametrize(
    ("encoded", "message"),
    [
        ("", "cut off"),
        ("30", "cut off"),
        ("3080 0000", "indefinite"),
        ("3085 0000000001 00", "absurd"),
        ("3082 01", "cut off in an element's length"),
        ("3003 02 01", "3 bytes where 2 are left"),
        ("1f8101 00", "tag numbers above 30"),
    ],
)
def test_what_is_no_der_is_refused_with_its_place(encoded: str, message: str) -> None:
    with pytest.raises(FormatError, match=message) as caught:
        der.parse(bytes.fromhex(encoded), path="x.ko", base=0x100)
    assert caught.value.path == "x.ko"
    assert caught.value.offset == 0x100


def test_a_child_may_not_leave_its_parent() -> None:
    parent = der.parse(bytes.fromhex("3003 0402aa bb"))
    with pytest.raises(FormatError, match="2 bytes where 1 are left"):
        list(parent.children())


@pytest.mark.parametrize("encoded", ["0600", "060180", "0642" + "81" * 65 + "00"])
def test_a_bad_object_identifier_is_refused(encoded: str) -> None:
    with pytest.raises(FormatError, match="OBJECT IDENTIFIER"):
        der.parse(bytes.fromhex(encoded)).oid()


def test_a_primitive_has_no_children() -> None:
    with pytest.raises(FormatError, match="constructed"):
        next(der.parse(b"\x02\x01\x00").children())


@given(st.binary(max_size=64))
def test_any_bytes_parse_or_are_refused(data: bytes) -> None:
    try:
        element = der.parse(data)
        assert element.end <= len(data)
        if element.tag & 0x20:
            assert all(child.end <= element.end for child in element.children())
    except FormatError:
        pass
