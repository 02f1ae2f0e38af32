"""Where a module's sections and symbols are placed, computed as values before anything is written.

These are layout_sections(), move_module() and simplify_symbols() of kernel/module/main.c.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from errno import ENOMEM
from typing import TYPE_CHECKING, Final

from ukmod.errors import FormatError, LimitError
from ukmod.kernel.kern_levels import KERN_WARNING
from ukmod.kmod.elf import (
    SHF_ALLOC,
    SHF_EXECINSTR,
    SHF_RELA_LIVEPATCH,
    SHF_WRITE,
    SHN_ABS,
    SHN_COMMON,
    SHN_LIVEPATCH,
    SHN_UNDEF,
    SHT_NOBITS,
    SHT_NOTE,
    SHT_REL,
    SHT_RELA,
    STT_FILE,
    STT_SECTION,
    Elf,
    Section,
)
from ukmod.machine import relocate
from ukmod.machine.area import Area
from ukmod.machine.memory import PAGE_SIZE, READ_EXEC, READ_ONLY, READ_WRITE, Memory, page_align
from ukmod.record import field, mutable, record

if TYPE_CHECKING:
    from ukmod.kernel.core import Core
    from ukmod.kernel.mm.percpu import PerCpu
    from ukmod.kernel.x86.orc import OrcTable
    from ukmod.machine.types import Types

MAX_MODULE_SIZE: Final = 1 << 28
"""The maximum size of a module in memory, in bytes: a corrupt header must not exhaust the host's memory."""
_UNLOADED = (".modinfo", "__versions", "__version_ext_crcs", "__version_ext_names")
"""Sections that have SHF_ALLOC set but are not loaded."""
_PERCPU = ".data..percpu"
_TEXT, _RODATA, _AFTER_INIT, _DATA = range(4)
_PROTECTION = (READ_EXEC, READ_ONLY, READ_ONLY, READ_WRITE)
_AFTER_INIT_SECTIONS = (".data..ro_after_init", "__jump_table")
_CORE_TYPES, _INIT_TYPES = (0, 2, 3, 1), (4, 6, None, 5)
"""enum mod_mem_type, since v6.4, by the groups above; only the core has data that init may write."""
_SYMBOL, _MOD_KALLSYMS = 24, 32
"""The sizes of Elf64_Sym and of struct mod_kallsyms in bytes."""


@record
class Placed:
    """A section and its place: ``offset`` bytes into the core or the init part."""

    section: Section
    offset: int
    init: bool


@record
class Part:
    """The core or init part of a module: its sections in order, and where the protections change."""

    placed: tuple[Placed, ...]
    ends: tuple[int, int, int, int]
    """The page-aligned ends of text, read-only data, data that is read-only after init, and other data."""
    size: int
    used: int
    """The end of the last section, where the symbol table follows since v6.4."""


@mutable
class ModuleLayout:
    """A module in memory."""

    core: int = 0
    core_size: int = 0
    init: int = 0
    init_size: int = 0
    percpu: int = 0
    percpu_size: int = 0
    addresses: dict[int, int] = field(default_factory=dict)
    """Virtual addresses by section index."""
    sections: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Address and size in bytes by section name."""
    notes: list[str] = field(default_factory=list)
    """The names of the sections of notes, which have files in sysfs."""
    core_text_end: int = 0
    init_text_end: int = 0
    memories: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Since v6.4: the start and the size of each memory that is not empty, by enum mod_mem_type."""
    symbol_starts: list[int] = field(default_factory=list)
    symbol_names: list[str] = field(default_factory=list)
    """Parallel to ``symbol_starts``, which is sorted; of several symbols at an address, the first is kept."""
    orc: OrcTable | None = None
    """Read when a call trace first needs it."""

    def contains(self, address: int) -> bool:
        """True if ``address`` is in the module's core or init part."""
        return (
            self.core <= address < self.core + self.core_size
            or self.init <= address < self.init + self.init_size
        )

    def symbol_bounds(self, address: int) -> tuple[int, int]:
        """Where symbols that find_kallsyms_symbol() may give ``address`` begin, and where they end.

        That was the end of the presumed text; since v6.4, a module is in memories of several types.
        """
        for start, size in self.memories.values():
            if start <= address < start + size:
                return start, start + size
        if self.init <= address < self.init + self.init_size:
            return 0, self.init_text_end
        return 0, self.core_text_end

    @property
    def code(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Where the code of the init part and that of the core part begin and end."""
        return (self.init, self.init_text_end), (self.core, self.core_text_end)


def _group(section: Section) -> int:
    if section.flags & SHF_EXECINSTR:
        return _TEXT
    if section.name in _AFTER_INIT_SECTIONS:
        return _AFTER_INIT
    return _DATA if section.flags & SHF_WRITE else _RODATA


def _is_init(section: Section) -> bool:
    # module_init_section() of kernel/module/main.c; .exit sections stay in the core, to be run at unload.
    return section.name.startswith(".init")


def plan_part(elf: Elf, *, init: bool) -> Part:
    """Compute the places of one part's sections. Raises FormatError if the part would be too large."""
    wanted = [
        section
        for section in elf.sections
        if section.flags & SHF_ALLOC
        and section.name not in (*_UNLOADED, _PERCPU)
        and _is_init(section) is init
    ]
    placed: list[Placed] = []
    ends: list[int] = []
    size = 0
    for group in (_TEXT, _RODATA, _AFTER_INIT, _DATA):
        for section in wanted:
            if _group(section) == group:
                align = max(section.align, 1)
                size = -(-size // align) * align
                placed.append(Placed(section, size, init))
                size += section.size
                if align > MAX_MODULE_SIZE or size > MAX_MODULE_SIZE:
                    raise FormatError(
                        f"section {section.name} makes the module larger than {MAX_MODULE_SIZE >> 20} MiB",
                        path=elf.path,
                        offset=section.offset,
                    )
        used, size = size, page_align(size)
        ends.append(size)
    return Part(tuple(placed), (ends[0], ends[1], ends[2], ends[3]), size, used)


def _core_symbols(elf: Elf) -> int:
    """The size in bytes of the symbol table that is kept, which counts towards a module's size."""
    loaded = {
        section.index
        for section in elf.sections
        if section.flags & SHF_ALLOC and section.name not in _UNLOADED and not _is_init(section)
    }
    kept = [symbol for symbol in elf.symbols if symbol.shndx in loaded and symbol.name]
    return (len(kept) + 1) * (_SYMBOL + 1) + sum(len(symbol.name.encode()) + 1 for symbol in kept) + 1


def _init_symbols(elf: Elf) -> int:
    """The same for the symbols while init runs: the whole table, as the file has it."""
    table, names = elf.section(".symtab"), elf.section(".strtab")
    if table is None or names is None:
        return 0
    return table.size + names.size + _MOD_KALLSYMS + table.size // _SYMBOL


def allocate(k: Core, elf: Elf, name: str) -> ModuleLayout:
    """Allocate zeroed, writable memory for the module's loaded sections and assign their addresses.

    Raises FormatError for an absurd size, LimitError if there is no room, as the log then says.
    """
    core, init = plan_part(elf, init=False), plan_part(elf, init=True)
    in_data = k.types.has("module", "mem")
    layout = ModuleLayout(
        core_size=page_align((core.used if in_data else core.size) + _core_symbols(elf)),
        init_size=page_align((init.used if in_data else init.size) + _init_symbols(elf)),
    )
    try:
        layout.core = _module_alloc(k, layout.core_size)
        layout.init = _module_alloc(k, layout.init_size) if layout.init_size else 0
        _place_percpu(k, elf, layout, name)
    except LimitError:
        free(layout, k.module_area, k.percpu)
        raise
    layout.core_text_end = layout.core + core.ends[_TEXT]
    layout.init_text_end = layout.init + init.ends[_TEXT]
    if in_data:
        layout.memories = _memories(layout.core, layout.core_size, core, _CORE_TYPES)
        layout.memories |= _memories(layout.init, layout.init_size, init, _INIT_TYPES)
    for placed in (*core.placed, *init.placed):
        address = (layout.init if placed.init else layout.core) + placed.offset
        layout.addresses[placed.section.index] = address
        layout.sections.setdefault(placed.section.name, (address, placed.section.size))
        if placed.section.type == SHT_NOTE and placed.section.size:
            layout.notes.append(placed.section.name)
    return layout


def _memories(base: int, size: int, part: Part, types: Sequence[int | None]) -> dict[int, tuple[int, int]]:
    """The memories of a part, by their types; the symbol table is at the end of the data."""
    ends = (0, *part.ends[:_DATA], size)
    return {
        number: (base + start, end - start)
        for number, start, end in zip(types, ends, ends[1:], strict=False)
        if number is not None and end > start
    }


def _module_alloc(k: Core, size: int) -> int:
    has_execmem = k.image is not None and k.image.get("execmem_alloc") is not None
    address = k.vmalloc.execmem_alloc(size) if has_execmem else k.vmalloc.module_alloc(size)
    if not address:
        raise LimitError(f"no memory for {size} bytes of the module", errno=ENOMEM)
    return address


def _place_percpu(k: Core, elf: Elf, layout: ModuleLayout, name: str) -> None:
    """percpu_modalloc()."""
    section = elf.section(_PERCPU)
    if section is None or not section.size or not section.flags & SHF_ALLOC:
        return
    if section.align > PAGE_SIZE:
        k.printk(f"{name}: per-cpu alignment {section.align} > {PAGE_SIZE}\n", KERN_WARNING)
    align = min(max(section.align, 1), PAGE_SIZE)
    try:
        layout.percpu = k.percpu.reserve(section.size, align)
    except LimitError:
        k.percpu.warn_full(section.size, align)
        k.printk(f"{name}: Could not allocate {section.size} bytes percpu data\n", KERN_WARNING)
        raise
    layout.percpu_size = section.size
    layout.addresses[section.index] = layout.percpu


def symbol_values(
    elf: Elf, layout: ModuleLayout, resolve: Callable[[str, bool], int], warn: Callable[[str], None]
) -> list[int]:
    """The value of each symbol: simplify_symbols().

    ``resolve(name, weak)`` returns the value of an undefined symbol, or raises. ``warn`` is called with the
    kernel's message before FormatError is raised for an invalid symbol.
    """
    values = []
    for index, symbol in enumerate(elf.symbols):
        shndx = symbol.shndx
        if index == 0:
            values.append(0)
        elif shndx == SHN_UNDEF:
            values.append(resolve(symbol.name, symbol.weak) if symbol.name else 0)
        elif shndx in (SHN_ABS, SHN_LIVEPATCH):  # livepatch resolves the latter when it is enabled
            values.append(symbol.value)
        elif shndx == SHN_COMMON:
            if not symbol.name.startswith("__gnu_lto"):
                warn("please compile with -fno-common")
                raise FormatError(f"common symbol {symbol.name}: compile with -fno-common", path=elf.path)
            values.append(symbol.value)
        elif shndx >= len(elf.sections):
            count = len(elf.sections) - 1
            warn(f"Symbol {symbol.name} has an invalid section index {shndx} (max {count})")
            raise FormatError(
                f"symbol {symbol.name} is in section {shndx}, which does not exist", path=elf.path
            )
        else:
            values.append(layout.addresses.get(shndx, 0) + symbol.value)
    return values


def fill(elf: Elf, layout: ModuleLayout, values: Sequence[int], memory: Memory, percpu_base: int) -> None:
    """Write every section, relocated, to its address. Raises FormatError for an invalid relocation."""
    relocations: dict[int, list[Section]] = {}
    for section in elf.sections:
        applies = section.type == SHT_RELA and not section.flags & SHF_RELA_LIVEPATCH
        if section.type == SHT_REL and section.info in layout.addresses:
            text = "REL relocation unsupported"
            raise relocate.RelocationRefusedError(
                text, f"module {{module}}: {text}", path=elf.path, offset=section.offset
            )
        if applies and section.info in layout.addresses:
            relocations.setdefault(section.info, []).append(section)
    for index, address in layout.addresses.items():
        section = elf.sections[index]
        content = (
            bytearray(section.size) if section.type == SHT_NOBITS else bytearray(elf.section_data(section))
        )
        for entries in relocations.get(index, ()):
            data = elf.section_data(entries)
            relocate.apply(content, address, data[: len(data) // 24 * 24], values, path=elf.path)
        memory.write(percpu_base + address if section.name == _PERCPU else address, content)


def fill_struct(types: Types, layout: ModuleLayout, address: int, memory: Memory) -> None:
    """Fill in what within_module() reads, and where symbols end: two parts; since v6.4, seven memories."""
    if types.has("module", "mem"):
        for number in (*_CORE_TYPES, *filter(None, _INIT_TYPES)):
            _set_range(types, memory, address, f"mem[{number}]", *layout.memories.get(number, (0, 0)))
        return
    init_text = layout.init_text_end - layout.init if layout.init else 0
    for member, base, size, text in (
        ("core_layout", layout.core, layout.core_size, layout.core_text_end - layout.core),
        ("init_layout", layout.init, layout.init_size, init_text),
    ):
        _set_range(types, memory, address, member, base, size)
        memory.set_u32(address + types.offset("module", f"{member}.text_size"), text)


def _set_range(types: Types, memory: Memory, module: int, member: str, base: int, size: int) -> None:
    memory.set_u64(module + types.offset("module", f"{member}.base"), base)
    memory.set_u32(module + types.offset("module", f"{member}.size"), size)


def protect(elf: Elf, layout: ModuleLayout, memory: Memory) -> None:
    """Make text read-only and executable, and constants read-only; data remains writable."""
    for base, part in ((layout.core, plan_part(elf, init=False)), (layout.init, plan_part(elf, init=True))):
        start = 0
        for group, end in enumerate(part.ends):
            if end > start and group in (_TEXT, _RODATA):
                memory.protect(base + start, end - start, _PROTECTION[group])
            start = end


def protect_after_init(elf: Elf, layout: ModuleLayout, memory: Memory) -> None:
    """module_enable_ro(mod, true): also make data that only init may write read-only."""
    _, start, end, _ = plan_part(elf, init=False).ends
    if end > start:
        memory.protect(layout.core + start, end - start, READ_ONLY)


def index_symbols(elf: Elf, layout: ModuleLayout, values: Sequence[int]) -> None:
    """Index the module's own symbols for call traces."""
    found: dict[int, str] = {}
    for index, symbol in enumerate(elf.symbols):
        if symbol.shndx in layout.addresses and symbol.name and symbol.type not in (STT_SECTION, STT_FILE):
            found.setdefault(values[index], symbol.name)
    layout.symbol_starts = sorted(found)
    layout.symbol_names = [found[start] for start in layout.symbol_starts]


def free_init(layout: ModuleLayout, area: Area) -> None:
    """do_free_init(): free the init part; a later call into it is a page fault."""
    if layout.init:
        area.free(layout.init)
    gone = [
        n
        for n, start in enumerate(layout.symbol_starts)
        if layout.init <= start < layout.init + layout.init_size
    ]
    for n in reversed(gone):
        del layout.symbol_starts[n], layout.symbol_names[n]
    layout.init = layout.init_size = 0
    for number in filter(None, _INIT_TYPES):
        layout.memories.pop(number, None)


def free(layout: ModuleLayout, area: Area, percpu: PerCpu) -> None:
    """module_memfree() for all parts, and percpu_modfree()."""
    free_init(layout, area)
    if layout.core:
        area.free(layout.core)
    if layout.percpu_size:
        percpu.release(layout.percpu)
    layout.core = layout.core_size = layout.percpu_size = 0
