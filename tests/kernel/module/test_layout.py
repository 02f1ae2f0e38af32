"""Where a module's sections and symbols are placed: layout_sections() and simplify_symbols()."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pytest
from tests.elfwriter import (
    SHF_ALLOC,
    SHF_EXECINSTR,
    SHF_WRITE,
    SHN_ABS,
    SHN_COMMON,
    SHT_NOBITS,
    STB_LOCAL,
    STB_WEAK,
    STT_FUNC,
    STT_OBJECT,
    Relocation,
    Section,
    Symbol,
    elf,
)

from ukmod.errors import FormatError, LimitError
from ukmod.kernel.core import Core
from ukmod.kernel.module import layout
from ukmod.kernel.module.layout import ModuleLayout, Part, plan_part
from ukmod.kmod.elf import Elf
from ukmod.machine import memory
from ukmod.machine.memory import PAGE_SIZE
from ukmod.machine.relocate import R_64, R_PC32

CODE, READ_ONLY, DATA = SHF_ALLOC | SHF_EXECINSTR, SHF_ALLOC, SHF_ALLOC | SHF_WRITE
STT_SECTION, STT_FILE = 3, 4
LIMIT = 256 << 20
"""Bytes that a module may take."""


def parsed(
    sections: Sequence[Section], symbols: Iterable[Symbol] = (), relocations: Sequence[Relocation] = ()
) -> Elf:
    return Elf(elf(sections, symbols, relocations), "m.ko")


def places(part: Part) -> dict[str, int]:
    return {placed.section.name: placed.offset for placed in part.placed}


class TestOrder:
    """Text, constants, data that is read-only after init, and other data, each from a page of its own."""

    SECTIONS = (
        Section(".data", b"d" * 8, flags=DATA),
        Section(".rodata", b"r" * 8, flags=READ_ONLY),
        Section(".data..ro_after_init", b"a" * 8, flags=DATA),
        Section("__jump_table", b"j" * 8, flags=DATA),
        Section(".text", b"t" * 8, flags=CODE),
        Section(".text.unlikely", b"u" * 8, flags=CODE | SHF_WRITE),
        Section(".bss", flags=DATA, type=SHT_NOBITS, size=8),
        Section(".comment", b"c" * 8, flags=0),
    )

    def test_sections_are_grouped_by_how_they_are_protected(self) -> None:
        part = plan_part(parsed(self.SECTIONS), init=False)
        assert places(part) == {
            ".text": 0,
            ".text.unlikely": 8,
            ".rodata": PAGE_SIZE,
            ".data..ro_after_init": 2 * PAGE_SIZE,
            "__jump_table": 2 * PAGE_SIZE + 8,
            ".data": 3 * PAGE_SIZE,
            ".bss": 3 * PAGE_SIZE + 8,
        }
        assert part.ends == tuple(PAGE_SIZE * n for n in (1, 2, 3, 4))
        assert part.size == 4 * PAGE_SIZE

    def test_a_group_without_sections_takes_no_page(self) -> None:
        part = plan_part(parsed([Section(".data", b"d", flags=DATA)]), init=False)
        assert (places(part), part.ends) == ({".data": 0}, (0, 0, 0, PAGE_SIZE))

    def test_init_sections_are_a_part_of_their_own(self) -> None:
        """It is freed after init. Exit functions stay."""
        names = (".text", ".init.text", ".exit.text", ".initial")
        file = parsed([Section(name, b"x", flags=CODE) for name in names])
        assert places(plan_part(file, init=False)) == {".text": 0, ".exit.text": 1}
        assert places(plan_part(file, init=True)) == {".init.text": 0, ".initial": 1}

    @pytest.mark.parametrize(
        "name", [".modinfo", "__versions", "__version_ext_crcs", "__version_ext_names", ".data..percpu"]
    )
    def test_sections_that_only_the_loader_reads_are_not_loaded(self, name: str) -> None:
        file = parsed([Section(name, b"x"), Section(".rodata", b"r")])
        assert places(plan_part(file, init=False)) == {".rodata": 0}

    def test_a_section_begins_where_its_alignment_allows(self) -> None:
        file = parsed(
            [
                Section(".a", b"x" * 3, align=0),
                Section(".b", b"x", align=1),
                Section(".c", b"x", align=64),
                Section(".d", b"x" * 64, align=64),
                Section(".e", b"x", align=64),
            ]
        )
        assert places(plan_part(file, init=False)) == {".a": 0, ".b": 3, ".c": 64, ".d": 128, ".e": 192}

    @pytest.mark.parametrize(
        ("size", "align", "fits"),
        [
            (LIMIT, 1, True),
            (LIMIT + 1, 1, False),
            (1 << 63, 1, False),
            (0, LIMIT, True),
            (0, LIMIT + 1, False),
        ],
    )
    def test_a_module_may_take_256_mib(self, size: int, align: int, fits: bool) -> None:
        """Far more than any has; a corrupt header must not take the host's memory."""
        file = parsed([Section(".bss", type=SHT_NOBITS, flags=DATA, size=size, align=align)])
        if fits:
            assert plan_part(file, init=False).size == size
            return
        with pytest.raises(FormatError, match=r"section \.bss makes the module larger than 256 MiB") as error:
            plan_part(file, init=False)
        assert (error.value.path, error.value.offset) == ("m.ko", file.sections[1].offset)


class Loaded:
    """A file's sections in the memory of a kernel."""

    def __init__(self, kernel: Core, file: Elf) -> None:
        self.memory, self.file = kernel.memory, file
        self.layout = layout.allocate(kernel, file, "m")
        self.values = layout.symbol_values(file, self.layout, lambda *_: 0, lambda _: None)
        layout.fill(file, self.layout, self.values, kernel.memory, kernel.percpu.base)

    def content(self, name: str) -> bytes:
        return bytes(self.memory.read(*self.layout.sections[name]))

    def protections(self) -> dict[str, int]:
        return {name: self.memory.prot(address) for name, (address, _) in self.layout.sections.items()}


WHOLE = (
    Section(".text", b"t" * 5, flags=CODE, align=16),
    Section(".rodata", b"r", flags=READ_ONLY),
    Section(".data..ro_after_init", b"a", flags=DATA),
    Section(".data", b"d" * 3, flags=DATA),
    Section(".bss", type=SHT_NOBITS, flags=DATA, size=4),
    Section(".init.text", b"i" * 7, flags=CODE),
    Section(".init.rodata", b"o", flags=READ_ONLY),
    Section(".init.data", b"n", flags=DATA),
)


class TestMemory:
    def test_sections_are_where_the_plan_has_them(self, kernel: Core) -> None:
        loaded = Loaded(kernel, parsed(WHOLE))
        made = loaded.layout
        for init, base in ((False, made.core), (True, made.init)):
            for name, offset in places(plan_part(loaded.file, init=init)).items():
                section = loaded.file.section(name)
                assert section is not None
                assert made.sections[name] == (base + offset, section.size)
                assert made.addresses[section.index] == base + offset
        assert (made.core_text_end, made.init_text_end) == (made.core + PAGE_SIZE, made.init + PAGE_SIZE)
        contents = {name: loaded.content(name) for name in made.sections}
        assert contents == {section.name: section.data for section in WHOLE} | {".bss": bytes(4)}

    def test_of_sections_with_the_same_name_the_first_is_found_by_it(self, kernel: Core) -> None:
        loaded = Loaded(kernel, parsed([Section(".rodata", b"one"), Section(".rodata", b"two")]))
        assert loaded.content(".rodata") == b"one"
        assert len(loaded.layout.addresses) == 2

    @pytest.mark.parametrize("init", [False, True])
    def test_a_modules_addresses_begin_and_end_with_its_parts(self, kernel: Core, init: bool) -> None:
        made = Loaded(kernel, parsed(WHOLE)).layout
        start, size = (made.init, made.init_size) if init else (made.core, made.core_size)
        inside = [made.contains(start + offset) for offset in (-1, 0, size - 1, size)]
        assert inside == [False, True, True, False]

    def test_text_can_be_executed_and_constants_only_read(self, kernel: Core) -> None:
        loaded = Loaded(kernel, parsed(WHOLE))
        assert set(loaded.protections().values()) == {memory.READ_WRITE}, "while it is written"
        layout.protect(loaded.file, loaded.layout, kernel.memory)
        own = {".text": memory.READ_EXEC, ".rodata": memory.READ_ONLY}
        own |= {".init.text": memory.READ_EXEC, ".init.rodata": memory.READ_ONLY}
        assert loaded.protections() == {section.name: memory.READ_WRITE for section in WHOLE} | own
        layout.protect_after_init(loaded.file, loaded.layout, kernel.memory)
        own |= {".data..ro_after_init": memory.READ_ONLY}
        assert loaded.protections() == {section.name: memory.READ_WRITE for section in WHOLE} | own

    def test_each_part_is_protected_as_its_own_sections_are(self, kernel: Core) -> None:
        core = [Section(".text", bytes(PAGE_SIZE + 1), flags=CODE), Section(".rodata", b"r", flags=READ_ONLY)]
        init = [Section(".init.text", b"i", flags=CODE), Section(".init.data", b"n", flags=DATA)]
        loaded = Loaded(kernel, parsed([*core, *init]))
        layout.protect(loaded.file, loaded.layout, kernel.memory)
        assert loaded.protections() == {
            ".text": memory.READ_EXEC,
            ".rodata": memory.READ_ONLY,
            ".init.text": memory.READ_EXEC,
            ".init.data": memory.READ_WRITE,
        }

    def test_a_module_without_such_data_keeps_all_of_its_data_writable_after_init(self, kernel: Core) -> None:
        loaded = Loaded(kernel, parsed([Section(".data", b"d", flags=DATA)]))
        layout.protect(loaded.file, loaded.layout, kernel.memory)
        layout.protect_after_init(loaded.file, loaded.layout, kernel.memory)
        assert loaded.protections() == {".data": memory.READ_WRITE}

    def test_the_symbol_table_counts_towards_the_size(self, kernel: Core) -> None:
        """layout_symtab(): 24 bytes, a type and the name for each symbol; the core keeps its own."""
        count = PAGE_SIZE // (24 + 1 + 64) + 1
        names = [f"{n:063}" for n in range(count)]
        for place in (".init.text", ".comment"):
            symbols = [Symbol(name, place) for name in names]
            made = Loaded(kernel, parsed([*WHOLE, Section(".comment", flags=0)], symbols)).layout
            assert (made.core_size, made.init_size) == (5 * PAGE_SIZE, 5 * PAGE_SIZE)
        symbols = [Symbol(name, ".text") for name in names]
        made = Loaded(kernel, parsed(WHOLE, symbols)).layout
        assert (made.core_size, made.init_size) == (6 * PAGE_SIZE, 5 * PAGE_SIZE)

    def test_a_symbol_table_may_fill_its_page(self, kernel: Core) -> None:
        """Of the symbols there is one more, without a name."""
        symbol_size, nul = 24 + 1, 1
        room = PAGE_SIZE - 2 * symbol_size - 2 * nul
        for length, pages in ((room, 2), (room + 1, 3)):
            file = parsed([Section(".text", b"t", flags=CODE)], [Symbol("x" * length, ".text")])
            assert layout.allocate(kernel, file, "m").core_size == pages * PAGE_SIZE

    def test_freeing_the_init_part_leaves_the_core(self, kernel: Core) -> None:
        symbols = [
            Symbol("stays", ".text", 1),
            Symbol("goes", ".init.text"),
            Symbol("goes_too", ".init.data"),
        ]
        loaded = Loaded(kernel, parsed(WHOLE, symbols))
        layout.index_symbols(loaded.file, loaded.layout, loaded.values)
        init = loaded.layout.init
        layout.free_init(loaded.layout, kernel.module_area)
        assert kernel.memory.prot(init) == 0
        assert not loaded.layout.contains(init)
        assert loaded.layout.symbol_names == ["stays"]
        assert loaded.layout.symbol_starts == [loaded.layout.core + 1]
        assert loaded.content(".text") == b"t" * 5

    def test_freeing_all_of_it_leaves_nothing(self, kernel: Core) -> None:
        file = parsed([*WHOLE, Section(".data..percpu", b"p" * 8, flags=DATA)])
        left: list[int] = []
        for _ in range(2):
            loaded = Loaded(kernel, file)
            made, parts = loaded.layout, (loaded.layout.core, loaded.layout.init)
            layout.free(made, kernel.module_area, kernel.percpu)
            assert [kernel.memory.prot(part) for part in parts] == [0, 0]
            assert (made.core, made.init, made.core_size, made.init_size, made.percpu_size) == (0,) * 5
            layout.free(made, kernel.module_area, kernel.percpu)  # there is nothing left to free
            left.append(kernel.memory.frames_left())
        assert left[0] == left[1]

    def test_a_module_for_which_there_is_no_room_is_refused(self, kernel: Core) -> None:
        text, large = (
            Section(".text", b"t", flags=CODE),
            Section(".bss", type=SHT_NOBITS, flags=DATA, size=LIMIT // 2),
        )
        fit = kernel.memory.size // (LIMIT // 2) - 1
        for _ in range(fit):
            layout.allocate(kernel, parsed([text, large]), "m")
        with pytest.raises(LimitError):
            layout.allocate(kernel, parsed([text, large]), "m")
        layout.allocate(kernel, parsed([text]), "m")

    def test_what_has_not_been_loaded_has_no_addresses(self) -> None:
        assert not any(ModuleLayout().contains(address) for address in (0, 1))

    def test_a_module_for_whose_per_cpu_variables_there_is_no_room_takes_no_memory(
        self, kernel: Core
    ) -> None:
        too_large = Section(".data..percpu", type=SHT_NOBITS, flags=DATA, size=LIMIT)
        left: list[int] = []
        for _ in range(2):
            with pytest.raises(LimitError):
                layout.allocate(kernel, parsed([*WHOLE, too_large]), "m")
            left.append(kernel.memory.frames_left())
        assert left[0] == left[1]


class TestPerCpu:
    @pytest.mark.parametrize("align", [0, 1, 64, PAGE_SIZE, 2 * PAGE_SIZE])
    def test_per_cpu_variables_are_copied_to_where_their_offset_points(
        self, kernel: Core, align: int
    ) -> None:
        """A module accesses them relative to GS; an alignment of more than a page is not honoured."""
        loaded = Loaded(kernel, parsed([Section(".data..percpu", b"percpu", flags=DATA, align=align)]))
        made = loaded.layout
        assert (made.percpu, made.percpu_size) == (made.addresses[1], 6)
        assert made.percpu % min(max(align, 1), PAGE_SIZE) == 0
        assert kernel.memory.read(kernel.percpu.base + made.percpu, 6) == b"percpu"
        assert ".data..percpu" not in made.sections

    @pytest.mark.parametrize(
        "section", [Section(".data..percpu", b"", flags=DATA), Section(".data..percpu", b"x", flags=0)]
    )
    def test_an_empty_section_or_one_that_is_not_loaded_takes_no_room(
        self, kernel: Core, section: Section
    ) -> None:
        made = Loaded(kernel, parsed([section])).layout
        assert (made.percpu_size, made.addresses) == (0, {})


class TestSymbols:
    def values(self, kernel: Core, *symbols: Symbol) -> tuple[dict[str, int], list[tuple[str, bool]]]:
        """Their values by name, and which names were looked up outside, and whether as weak ones."""
        file, asked = parsed(WHOLE, symbols), list[tuple[str, bool]]()
        made = layout.allocate(kernel, file, "m")

        def resolve(name: str, weak: bool) -> int:
            asked.append((name, weak))
            return 0x1234

        found = layout.symbol_values(file, made, resolve, lambda _: None)
        assert found[0] == 0
        return {symbol.name: found[symbol.index] - made.core for symbol in file.symbols[1:]}, asked

    def test_a_symbol_is_an_offset_into_its_section(self, kernel: Core) -> None:
        values, asked = self.values(kernel, Symbol("f", ".text", 3), Symbol("r", ".rodata", 0x10))
        assert (values, asked) == ({"f": 3, "r": PAGE_SIZE + 0x10}, [])

    def test_an_undefined_symbol_is_looked_up_elsewhere(self, kernel: Core) -> None:
        """A nameless one is not: it is nothing."""
        made, asked = self.values(kernel, Symbol("u"), Symbol("w", bind=STB_WEAK), Symbol(""))
        assert asked == [("u", False), ("w", True)]
        assert made["u"] - made[""] == 0x1234

    def test_an_absolute_symbol_is_its_value(self, kernel: Core) -> None:
        values, _ = self.values(kernel, Symbol("a", SHN_ABS, 0x99), Symbol("", SHN_ABS))
        assert values["a"] - values[""] == 0x99

    def test_a_symbol_of_a_section_that_is_not_loaded_is_its_value(self, kernel: Core) -> None:
        file = parsed([Section(".comment", b"c", flags=0)], [Symbol("c", ".comment", 5)])
        made = layout.allocate(kernel, file, "m")
        assert layout.symbol_values(file, made, lambda *_: 0, lambda _: None) == [0, 5]

    @pytest.mark.parametrize(
        ("symbol", "message", "complaint"),
        [
            (Symbol("c", SHN_COMMON), "please compile with -fno-common", "common symbol c: compile with"),
            (
                Symbol("s", 0xFE00),
                "Symbol s has an invalid section index 65024 (max 11)",
                "symbol s is in section 65024, which does not exist",
            ),
            (
                Symbol("s", 12),
                "Symbol s has an invalid section index 12 (max 11)",
                "symbol s is in section 12, which does not exist",
            ),
        ],
    )
    def test_a_symbol_that_is_nowhere_is_refused(
        self, kernel: Core, symbol: Symbol, message: str, complaint: str
    ) -> None:
        file, messages = parsed(WHOLE, [symbol]), list[str]()
        made = layout.allocate(kernel, file, "m")
        with pytest.raises(FormatError, match=complaint) as error:
            layout.symbol_values(file, made, lambda *_: 0, messages.append)
        assert (error.value.path, messages) == ("m.ko", [message])

    def test_a_common_symbol_of_link_time_optimisation_is_accepted(self, kernel: Core) -> None:
        """ "__gnu_lto_slim" and its kin mark objects; they are no variables."""
        values, _ = self.values(kernel, Symbol("__gnu_lto_slim", SHN_COMMON, 1), Symbol("", SHN_ABS))
        assert values["__gnu_lto_slim"] - values[""] == 1

    def test_call_traces_know_functions_and_variables_but_no_sections_or_files(self, kernel: Core) -> None:
        symbols = [
            Symbol("f", ".text", 4, type=STT_FUNC, bind=STB_LOCAL),
            Symbol("alias_of_f", ".text", 4, type=STT_FUNC),
            Symbol("v", ".data", type=STT_OBJECT),
            Symbol("", ".text", 1),
            Symbol("section", ".text", type=STT_SECTION),
            Symbol("file.c", SHN_ABS, type=STT_FILE),
            Symbol("file_in_text", ".text", 2, type=STT_FILE),
            Symbol("u"),
            Symbol("first", ".text", 0),
        ]
        loaded = Loaded(kernel, parsed(WHOLE, symbols))
        made = loaded.layout
        layout.index_symbols(loaded.file, made, loaded.values)
        assert made.symbol_names == ["first", "f", "v"], "by address; of several, the first in the table"
        assert made.symbol_starts == [made.core, made.core + 4, made.sections[".data"][0]]


class TestRelocations:
    def test_each_section_is_relocated_by_all_the_tables_for_it(self, kernel: Core) -> None:
        sections = [Section(".data", bytes(16), flags=DATA), Section(".text", b"t", flags=CODE)]
        places = [Relocation(".data", 8, "f", R_64, 5), Relocation(".data", 0, "f", R_64)]
        loaded = Loaded(kernel, parsed(sections, [Symbol("f", ".text")], places))
        address, _ = loaded.layout.sections[".text"]
        assert loaded.content(".data") == address.to_bytes(8, "little") + (address + 5).to_bytes(8, "little")
        assert loaded.content(".text") == b"t"

    def test_a_relative_relocation_counts_from_its_place(self, kernel: Core) -> None:
        sections = [Section(".text", bytes(16), flags=CODE)]
        loaded = Loaded(
            kernel, parsed(sections, [Symbol("f", ".text", 12)], [Relocation(".text", 4, "f", R_PC32, -4)])
        )
        assert loaded.content(".text")[4:8] == (12 - 4 - 4).to_bytes(4, "little")

    def test_relocations_of_sections_that_are_not_loaded_are_passed_over(self, kernel: Core) -> None:
        sections = [Section(".debug_info", bytes(8), flags=0)]
        Loaded(kernel, parsed(sections, [Symbol("f")], [Relocation(".debug_info", 99, "f", 77)]))

    def test_per_cpu_variables_are_relocated_at_their_offset(self, kernel: Core) -> None:
        sections = [Section(".data..percpu", bytes(8), flags=DATA)]
        entries = [Relocation(".data..percpu", 0, "v", R_64, 1)]
        loaded = Loaded(kernel, parsed(sections, [Symbol("v", ".data..percpu")], entries))
        offset = loaded.layout.percpu
        assert kernel.memory.u64(kernel.percpu.base + offset) == offset + 1

    def test_a_relocation_that_is_wrong_names_the_file(self, kernel: Core) -> None:
        entries = [Relocation(".text", 0, "f", 77)]
        with pytest.raises(FormatError, match="unknown relocation type 77") as error:
            Loaded(kernel, parsed(WHOLE, [Symbol("f")], entries))
        assert error.value.path == "m.ko"
