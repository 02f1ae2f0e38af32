"""The lengths of instructions: forms one by one, and all of the compiled modules' code."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.golden import modules

from ukmod.kernel.x86 import insn
from ukmod.kmod.elf import SHF_EXECINSTR, SHT_NOBITS, STT_FUNC, Elf


@pytest.mark.parametrize(
    "text",
    [
        *("90", "c3", "0f 31", "0f 01 f9", "f3 0f 1e fa", "cc", "0f 0b", "f3 90", "0f a2"),
        *("89 d8", "48 8b 05 00 00 00 00", "8b 44 24 08", "8b 84 24 00 01 00 00", "8b 04 25 00 00 00 00"),
        *("b8 01 00 00 00", "66 b8 01 00", "48 b8 01 02 03 04 05 06 07 08", "c8 10 00 00"),
        *("a1 01 02 03 04 05 06 07 08", "65 48 8b 04 25 28 00 00 00", "e8 00 00 00 00", "0f 84 00 00 00 00"),
        *("f6 c1 01", "f6 d1", "f7 c1 01 00 00 00", "f7 d9", "66 f7 c1 01 00", "48 f7 c1 01 00 00 00"),
        *("0f 22 d8", "0f ba e0 03", "0f 38 f6 c1", "66 0f 3a 0f c1 08", "c5 f8 77", "c5 f9 6f 00"),
        *("c4 e3 7d 19 c1 01", "62 f1 7c 48 10 01", "0f 18 40 10", "6b c0 0a", "69 c0 0a 00 00 00"),
    ],
)
def test_an_instruction_has_its_length_whatever_follows(text: str) -> None:
    code = bytes.fromhex(text)
    assert insn.length(code + b"\xc3" * 15) == len(code)
    assert insn.length(code) == len(code)
    assert insn.length(code[:-1]) == 0


@pytest.mark.parametrize("text", ["06", "60", "9a", "d4", "ea", "", "66" * 16])
def test_bytes_that_are_no_instruction_have_no_length(text: str) -> None:
    assert insn.length(bytes.fromhex(text)) == 0


@pytest.mark.fuzz
@given(st.binary(max_size=32))
def test_any_bytes_end(code: bytes) -> None:
    starts = list(insn.starts(code))
    assert all(0 <= start < len(code) for start in starts)
    assert starts == sorted(set(starts))


@pytest.mark.parametrize("name", sorted(modules()))
def test_code_read_from_one_function_on_meets_the_next(name: str) -> None:
    elf = Elf(modules()[name].read_bytes(), name)
    for index, section in enumerate(elf.sections):
        if not section.flags & SHF_EXECINSTR or section.type == SHT_NOBITS:
            continue
        functions = {it.value for it in elf.symbols if it.shndx == index and it.type == STT_FUNC}
        assert functions <= {*insn.starts(elf.section_data(section)), section.size}
