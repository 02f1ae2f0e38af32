from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ukmod.errors import FormatError
from ukmod.kmod.der import DerTag, Reader


def reader(encoded: str) -> Reader:
    return Reader(bytes.fromhex(encoded), path="x.ko", base=0x100)


def test_elements_come_in_order_with_their_content() -> None:
    fields = reader("3006 0201ff 0401aa").enter(DerTag.SEQUENCE, "pair")
    assert fields.peek() == DerTag.INTEGER
    assert fields.integer("first") == -1
    assert fields.raw(DerTag.OCTET_STRING, "second") == bytes.fromhex("0401aa")
    assert not fields
    assert fields.peek() == -1


def test_a_long_length_has_its_own_octets() -> None:
    assert Reader(b"\x04\x82\x01\x00" + bytes(256)).content(DerTag.OCTET_STRING, "blob") == bytes(256)


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
    assert reader(encoded).oid("type") == dotted


@pytest.mark.parametrize(
    ("encoded", "message"),
    [
        ("", "field: cut off"),
        ("30", "field: cut off"),
        ("3080 0000", "indefinite"),
        ("3085 0000000001 00", "absurd"),
        ("3082 01", "1 bytes where 0 are left"),
        ("3003 02 01", "3 bytes where 2 are left"),
        ("1f8101 00", "tag number above 30"),
    ],
)
def test_what_is_no_der_is_refused_with_its_place(encoded: str, message: str) -> None:
    with pytest.raises(FormatError, match=message) as caught:
        reader(encoded).content(None, "field")
    assert caught.value.path == "x.ko"
    assert caught.value.offset == 0x100


def test_a_child_may_not_leave_its_parent() -> None:
    parent = reader("3003 0402aa bb").enter(DerTag.SEQUENCE, "parent")
    with pytest.raises(FormatError, match="2 bytes where 1 are left") as caught:
        parent.content(None, "child")
    assert caught.value.offset == 0x102


def test_another_tag_than_expected_is_refused() -> None:
    with pytest.raises(FormatError, match="version: tag 0x02 was expected, 0x04 found"):
        reader("0401aa").integer("version")
    with pytest.raises(FormatError, match="not a constructed one"):
        reader("0401aa").enter(DerTag.OCTET_STRING, "octets")


def test_an_integer_has_content() -> None:
    with pytest.raises(FormatError, match="without content"):
        reader("0200").integer("version")


@pytest.mark.parametrize("encoded", ["0600", "060180", "0642" + "81" * 65 + "00"])
def test_a_bad_object_identifier_is_refused(encoded: str) -> None:
    with pytest.raises(FormatError, match="OBJECT IDENTIFIER"):
        reader(encoded).oid("type")


@given(st.binary(max_size=64))
def test_any_bytes_parse_or_are_refused(data: bytes) -> None:
    fields, total = Reader(data), 0
    try:
        while fields:
            total += len(fields.raw(None, "field"))
        assert total == len(data)
    except FormatError:
        pass
