"""Calls of request_module() in compiled modules, and in code that is made here."""

from __future__ import annotations

import pytest
from tests import elfwriter
from tests.elfwriter import SHF_ALLOC, STB_LOCAL, Relocation, Section, Symbol
from tests.golden import modules

from ukmod.kmod.audit import ModuleAudit, Route
from ukmod.kmod.audit.requests import ModuleRequest, formats_of_call, module_requests
from ukmod.kmod.audit.surface import ANYBODY, families
from ukmod.kmod.elf import Elf

MOV, LEA, CALL = b"\x48\xc7\xc6", b"\x48\x8d\x35", b"\xe8"


def test_calls_are_found_with_function_and_format(compiled: dict[str, list[ModuleRequest]]) -> None:
    every = [one for found in compiled.values() for one in found]
    assert len(every) > 5
    assert all(one.function for one in every)
    assert any("%" in "".join(one.formats) for one in every)


@pytest.fixture(scope="module")
def compiled() -> dict[str, list[ModuleRequest]]:
    """The calls in each compiled module of the tests that has any."""
    found = {}
    for name, path in modules().items():
        data = path.read_bytes()
        if b"__request_module" in data:
            found[name] = module_requests(Elf(data), name)
    return found


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (MOV + b"AAAA", ["A"]),
        (MOV + b"AAAA" + MOV + b"BBBB", ["B"]),
        (MOV + b"AAAA" + b"\x31\xc0\x40\xb7\x01", ["A"]),
        (MOV + b"AAAA" + CALL + b"0000", []),
        (b"\x48\x89\xde", []),
        (LEA + b"AAAA", ["A relative"]),
        (MOV + b"AAAA" + b"\xeb\x07" + MOV + b"BBBB" + b"\x31\xc0", ["B", "A"]),
        (MOV + b"AAAA" + b"\xe9\x09\0\0\0" + MOV + b"BBBB" + b"\x31\xc0", ["B", "A"]),
        (MOV + b"AAAA" + b"\xeb\x05" + MOV + b"BBBB" + b"\x31\xc0", ["B"]),
    ],
    ids=[
        "set",
        "set twice",
        "other instructions behind",
        "another call between",
        "a register",
        "lea",
        "a jump behind",
        "a jump to the call",
        "a jump elsewhere",
    ],
)
def test_the_last_instruction_that_sets_the_register_counts(code: bytes, expected: list[str]) -> None:
    def text(at: int, is_relative: bool) -> str | None:
        return chr(code[at]) + (" relative" if is_relative else "")

    found = formats_of_call(code, range(len(code)), len(code), text, lambda at: code[at : at + 1] == CALL)
    assert list(found) == expected


def test_a_function_that_passes_a_name_on_is_followed() -> None:
    """As nft_request_module() of nf_tables, whose callers have the formats."""
    inner = MOV + bytes(4) + CALL + bytes(4) + b"\xc3"
    outer = MOV + bytes(4) + CALL + (-25).to_bytes(4, "little", signed=True)
    sections = [
        Section(".text", inner + outer, flags=SHF_ALLOC | 4),
        Section(".rodata.str1.1", b"%s\0nft-expr-%s\0", flags=SHF_ALLOC),
        Section(".modinfo", elfwriter.modinfo("license=GPL")),
    ]
    symbols = [
        Symbol("strings", ".rodata.str1.1", bind=STB_LOCAL),
        Symbol("passes_on", ".text", size=len(inner), type=2),
        Symbol("asks", ".text", value=len(inner), size=len(outer), type=2),
        Symbol("__request_module"),
    ]
    relocations = [
        Relocation(".text", 3, "strings", 11, 0),
        Relocation(".text", 8, "__request_module", 4, -4),
        Relocation(".text", len(inner) + 3, "strings", 11, 3),
    ]
    found = module_requests(Elf(elfwriter.elf(sections, symbols, relocations)), "m")
    assert found == [ModuleRequest(("%s",), "passes_on", "m"), ModuleRequest(("nft-expr-%s",), "asks", "m")]


def test_a_module_of_another_architecture_has_no_calls() -> None:
    assert module_requests(Elf(elfwriter.module("m", target=elfwriter.TARGETS[2])), "m") == []


def test_an_alias_belongs_to_the_most_telling_format_that_makes_it() -> None:
    words = {
        "ipv6": ("net_pf_10", "net-pf-%d"),
        "sctp": ("net_pf_2_proto_132_type_1", "net-pf-%d-proto-%d-type-%d"),
        "tun": ("char_major_10_200", "char-major-%d-%d"),
        "misc": ("char_major_10_*", "char-major-%d-%d"),
        "xt_a": ("ipt_a", "ipt_%s"),
        "filter": ("iptable_filter", "%stable_%s"),
        "e1000": ("pci:v00008086d*", "pci:"),
        "odd": ("mystery", "other"),
    }
    formats = {name for _, name in words.values() if "%" in name}
    requests = [
        ModuleRequest((name,), "inet_create" if "net" in name else "f", "vmlinux") for name in formats
    ]
    requests += [ModuleRequest(("%s",), "f", "vmlinux"), ModuleRequest((), "g", "vmlinux")]
    audits = [
        ModuleAudit(module, "/x.ko", (Route("alias", word, "open"),)) for module, (word, _) in words.items()
    ]
    found = {one.name: one for one in families(requests, audits)}
    assert {member.module: name for name, one in found.items() for member in one.members} == {
        module: name for module, (_, name) in words.items()
    }
    assert found["net-pf-%d"].needs == ANYBODY
    assert found["net-pf-%d"].counts == {"open": 1, "blocked": 0, "unknown": 0}
    assert found["pci:"].requests == ()


def test_a_format_of_many_numbers_is_matched_in_no_time() -> None:
    audits = [ModuleAudit("m", "/x.ko", (Route("alias", f"mdio:{'0?' * 40}x", "open"),))]
    requests = [ModuleRequest(("mdio:" + "%u" * 60, "%s-" * 40), "f", "m")]
    found = families(requests, audits)
    assert sum(len(one.members) for one in found) == 1
