from __future__ import annotations

import contextlib
import tempfile

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests import elfwriter

from ukmod.errors import UkmodError
from ukmod.kmod.cms import SignerInfo
from ukmod.kmod.modfile import ModuleFile
from ukmod.kmod.modinfo import (
    ModuleInfo,
    Parameter,
    builtin_fields,
    invalid_parameters,
    merge_parameters,
    parse_fields,
    read_module,
)
from ukmod.kmod.signature import ModuleSignature

SECTION = (
    b"license=GPL\0alias=fs-btrfs\0alias=devname:btrfs-control\0depends=raid6_pq,xor\0softdep=pre: sha256\0"
    b"weakdep=zstd\0firmware=a.bin\0import_ns=DMA_BUF\0vermagic=6.1.0 SMP \0"
    b"parm=debug:how much\0parmtype=debug:int\0"
)


def info(section: bytes, signature: ModuleSignature | None = None) -> ModuleInfo:
    return ModuleInfo("btrfs", "/x/btrfs.ko", parse_fields(section), signature)


def by(digest: str, *, serial: int | None = 1) -> SignerInfo:
    return SignerInfo(b"", b"me", serial, None if serial else b"id", digest, "rsa")


def test_fields_keep_their_order_and_may_repeat() -> None:
    btrfs = info(SECTION)
    assert btrfs.fields[:2] == (("license", "GPL"), ("alias", "fs-btrfs"))
    assert btrfs.aliases == ("fs-btrfs", "devname:btrfs-control")


def test_well_known_fields_have_names() -> None:
    btrfs = info(SECTION)
    assert btrfs.depends == ("raid6_pq", "xor")
    assert btrfs.softdeps == ("pre: sha256",)
    assert btrfs.weakdeps == ("zstd",)
    assert btrfs.firmware == ("a.bin",)
    assert btrfs.namespaces == ("DMA_BUF",)
    assert btrfs.vermagic == "6.1.0 SMP "
    assert btrfs.first("description") == ""
    assert btrfs.parameters == (Parameter("debug", "how much", "int"),)


def test_a_module_without_dependencies_has_an_empty_depends() -> None:
    assert info(b"depends=\0").depends == ()


def test_padding_is_no_field() -> None:
    """The linker aligns each object's share of the section with NULs; the last string may lack its own."""
    assert parse_fields(b"\0\0a=1\0\0\0b=2=3\0\0c") == (("a", "1"), ("b", "2=3"), ("c", ""))
    assert parse_fields(b"") == ()


def test_what_is_not_utf8_survives() -> None:
    assert parse_fields(b"author=Ren\xe9\0") == (("author", "Ren\udce9"),)


def test_description_and_type_of_a_parameter_meet() -> None:
    fields = parse_fields(b"parmtype=a:int\0parm=b:what b does\0parm=a:what a does\0parmtype=c:bool\0")
    assert merge_parameters(fields) == (
        Parameter("a", "what a does", "int"),
        Parameter("b", "what b does", None),
        Parameter("c", None, "bool"),
    )


def test_the_last_description_of_a_parameter_counts() -> None:
    assert merge_parameters(parse_fields(b"parm=a:x\0parm=a:y:z\0")) == (Parameter("a", "y:z", None),)


def test_a_parameter_needs_a_colon() -> None:
    fields = parse_fields(b"parm=nothing\0parm=a:x\0")
    assert merge_parameters(fields) == (Parameter("a", "x", None),)
    assert invalid_parameters(fields) == [("parm", "nothing")]


def test_the_signature_is_listed_as_libkmod_does() -> None:
    signature = ModuleSignature("PKCS#7", "me", b"\x01\xab", "sha256", bytes(range(21)), 0, by("sha256"))
    assert list(info(b"license=GPL\0", signature).listing()) == [
        ("license", "GPL"),
        ("sig_id", "PKCS#7"),
        ("signer", "me"),
        ("sig_key", "01:AB"),
        ("sig_hashalgo", "sha256"),
        ("signature", "00:01:02:03:04:05:06:07:08:09:0A:0B:0C:0D:0E:0F:10:11:12:13:\n\t\t14"),
    ]


@pytest.mark.parametrize(
    "signer",
    [None, by("sha3-256"), by("1.2.3"), by("sha256", serial=None)],
    ids=["broken", "sha3", "?", "key"],
)
def test_of_a_signature_that_libkmod_cannot_read_nothing_is_listed(signer: SignerInfo | None) -> None:
    digest = signer.digest if signer else "unknown"
    signature = ModuleSignature("PKCS#7", "me", b"\x01", digest, b"x", 0, signer)
    assert dict(info(b"", signature).listing()) == {
        "sig_id": "PKCS#7",
        "signer": "",
        "sig_key": "",
        "sig_hashalgo": "unknown",
        "signature": "",
    }


@given(st.data())
def test_a_damaged_file_raises_nothing_but_our_errors(data: st.DataObject) -> None:
    whole = bytearray(elfwriter.module("x", "license=GPL", exports={"f": 1}, needs=["g"]))
    for _ in range(data.draw(st.integers(1, 6))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    del whole[data.draw(st.integers(10, len(whole))) :]
    with tempfile.NamedTemporaryFile(suffix=".ko") as file:
        file.write(whole)
        file.flush()
        with ModuleFile(file.name) as module, contextlib.suppress(UkmodError):
            assert read_module(module, "x").name == "x"


def test_a_built_in_module_takes_its_own_lines() -> None:
    modinfo = b"unix.license=GPL\0unix_diag.license=x\0unix.alias=net-pf-1\0ext4.license=GPL\0"
    assert builtin_fields(modinfo, "unix") == (("license", "GPL"), ("alias", "net-pf-1"))
    assert builtin_fields(modinfo, "none") == ()
