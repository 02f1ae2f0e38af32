"""What the loader checks before a module runs: load_module() of kernel/module/main.c, on files made here."""

from __future__ import annotations

import struct
from errno import EBUSY, EEXIST, EINVAL, EIO, ENOENT, ENOEXEC

import pytest
from tests.elfwriter import (
    SHF_ALLOC,
    SHF_EXECINSTR,
    SHT_PROGBITS,
    SHT_SYMTAB,
    STB_WEAK,
    Relocation,
    Section,
    Symbol,
    elf,
    modinfo,
    versions,
)
from tests.kernel.module.made import FIELDS, MAGIC, made, this_module

from ukmod.errors import LoadError
from ukmod.kernel.api import Kernel
from ukmod.kernel.module.main import ModuleState
from ukmod.kmod.host import INIT_IGNORE_MODVERSIONS, INIT_IGNORE_VERMAGIC
from ukmod.machine.relocate import R_64, R_PC32

SIGNATURE = struct.pack(">5B3xI", 0, 0, 2, 0, 0, 4) + b"~Module signature appended~\n"
"""The trailer of a PKCS#7 signature of 4 bytes."""


def refused(machine: Kernel, data: bytes, errno: int = ENOEXEC, *, flags: int = 0) -> str:
    """What the kernel logs about a module that it refuses; nothing of the module stays."""
    before = [module.name for module in machine.modules.values()]
    logged = len(machine.dmesg())
    with pytest.raises(LoadError) as caught:
        machine.insmod(data, flags=flags)
    assert caught.value.errno == errno, caught.value
    assert [module.name for module in machine.modules.values()] == before
    return "\n".join(line.partition("] ")[2] for line in machine.dmesg()[logged:].splitlines())


class TestFile:
    """elf_validity_check()."""

    def test_a_module_needs_no_functions(self, machine: Kernel) -> None:
        assert machine.insmod(made()).state is ModuleState.LIVE
        assert machine.read("/proc/modules").startswith("m 12288 0 - Live 0x"), "text, data, symbols"
        assert "suspiciously" not in machine.dmesg()

    @pytest.mark.parametrize("kind", [0, 2, 3])
    def test_only_relocatable_files_are_modules(self, machine: Kernel, kind: int) -> None:
        assert refused(machine, made(file_type=kind)) == f"Invalid ELF header type: {kind} != 1"

    def test_a_module_without_symbols_is_refused(self, machine: Kernel) -> None:
        data = bytearray(made())
        (table,) = struct.unpack_from("<Q", data, 40)
        symtab = next(at for at in range(table, len(data), 64) if data[at + 4] == SHT_SYMTAB)
        data[symtab + 4] = SHT_PROGBITS
        assert refused(machine, bytes(data)) == "m: module has no symbols (stripped?)"

    @pytest.mark.parametrize("sections", [[], [this_module(flags=0)]])
    @pytest.mark.parametrize(
        ("fields", "name"),
        [(("name=m",), "m"), (("license=GPL",), "(missing .modinfo section or name field)")],
    )
    def test_a_file_without_struct_module_is_no_module(
        self, machine: Kernel, sections: list[Section], fields: tuple[str, ...], name: str
    ) -> None:
        data = elf([Section(".modinfo", modinfo(*fields)), *sections], [Symbol("s", 0xFFF1)])
        assert refused(machine, data) == f"{name}: No module found in object"

    @pytest.mark.parametrize(("length", "fits"), [(1, True), (55, True), (56, False), (200, False)])
    def test_a_name_has_at_most_55_characters(self, machine: Kernel, length: int, fits: bool) -> None:
        """MODULE_NAME_LEN, the NUL included."""
        name = "n" * length
        if fits:
            assert machine.insmod(made(name=name)).name == name
        else:
            refused(machine, made(name=name))

    def test_without_a_name_in_modinfo_that_of_struct_module_counts(self, machine: Kernel) -> None:
        text = Section(".text", bytes(8), flags=SHF_ALLOC | SHF_EXECINSTR)
        data = elf(
            [text, Section(".modinfo", modinfo(*FIELDS)), this_module("own_name")], [Symbol("f", ".text")]
        )
        assert machine.insmod(data).name == "own_name"

    @pytest.mark.parametrize("size", [0, 100, -1])
    def test_struct_module_has_the_kernels_size(self, machine: Kernel, size: int) -> None:
        text = Section(".text", bytes(8), flags=SHF_ALLOC | SHF_EXECINSTR)
        data = elf(
            [text, Section(".modinfo", modinfo(*FIELDS, "name=m")), this_module(size=size)],
            [Symbol("f", ".text")],
        )
        assert refused(machine, data).startswith(
            "module m: .gnu.linkonce.this_module section size must match"
        )


class TestModinfo:
    """check_modinfo()."""

    def test_a_module_for_another_kernel_is_refused(self, machine: Kernel) -> None:
        machine.insmod(made(name="first"))
        other = made(info=("license=GPL", "vermagic=6.1.1 SMP "))
        assert refused(machine, other) == f"m: version magic '6.1.1 SMP ' should be '{MAGIC}'"
        machine.insmod(other, flags=INIT_IGNORE_VERMAGIC)

    @pytest.mark.parametrize(("flags", "fits"), [(0, True), (INIT_IGNORE_MODVERSIONS, False)])
    def test_with_symbol_versions_the_release_may_differ(
        self, machine: Kernel, flags: int, fits: bool
    ) -> None:
        machine.insmod(made(name="first"))
        info = ("license=GPL", f"vermagic={MAGIC.replace('6.1.0', '6.1.9')}")
        data = made(info=info, sections=(Section("__versions", versions({"f": 1})),))
        if fits:
            machine.insmod(data, flags=flags)
        else:
            refused(machine, data, flags=flags)

    @pytest.mark.parametrize(
        ("fields", "taints", "message"),
        [
            (("intree=Y",), "E", ""),
            ((), "OE", "m: loading out-of-tree module taints kernel."),
            (
                ("intree=Y", "staging=Y"),
                "CE",
                "m: module is from the staging directory, the quality is unknown",
            ),
            (("intree=Y", "license=Proprietary"), "PE", "m: module license 'Proprietary' taints kernel."),
            (("intree=Y", "test=Y"), "EN", "m: loading test module taints kernel."),
        ],
    )
    def test_what_a_module_says_of_itself_taints_the_kernel(
        self, machine: Kernel, fields: tuple[str, ...], taints: str, message: str
    ) -> None:
        module = machine.insmod(made(*fields))
        assert "".join(sorted(module.taints)) == "".join(sorted(taints))
        assert all(machine.core.taint.has(letter) for letter in taints)
        assert message in machine.dmesg()

    def test_each_taint_is_announced_once(self, machine: Kernel) -> None:
        for name in "ab":
            machine.insmod(made("license=Proprietary", "test=Y", name=name))
        for words in ("out-of-tree", "verification failed", "license 'Proprietary'", "test module"):
            assert machine.dmesg().count(words) == 1, words


class TestSignatures:
    """Without the kernel's keys, a signed module of the kernel's own tree is taken to be signed by it."""

    @pytest.mark.parametrize(
        ("fields", "trailer", "flags", "trusted"),
        [
            (("intree=Y",), b"sign" + SIGNATURE, 0, True),
            (("intree=Y",), b"", 0, False),
            ((), b"sign" + SIGNATURE, 0, False),
            (("intree=Y",), b"sign" + SIGNATURE, INIT_IGNORE_VERMAGIC, False),
            (("intree=Y",), b"sign" + SIGNATURE, INIT_IGNORE_MODVERSIONS, False),
        ],
    )
    def test_a_module_that_is_not_trusted_taints_the_kernel(
        self, machine: Kernel, fields: tuple[str, ...], trailer: bytes, flags: int, trusted: bool
    ) -> None:
        """One whose versions are ignored is not the one that was signed."""
        module = machine.insmod(made(*fields) + trailer, flags=flags)
        assert ("E" in module.taints) is not trusted
        text = "m: module verification failed: signature and/or required key missing - tainting kernel"
        assert (text in machine.dmesg()) is not trusted


class TestSymbols:
    """simplify_symbols(), apply_relocations()."""

    def test_each_unknown_symbol_is_named(self, machine: Kernel) -> None:
        data = made(needs=(Symbol("no_such"), Symbol("kfree"), Symbol("nor_this")))
        assert refused(machine, data, ENOENT).splitlines()[-2:] == [
            "m: Unknown symbol no_such (err -2)",
            "m: Unknown symbol nor_this (err -2)",
        ]

    def test_a_weak_symbol_that_nobody_has_is_null(self, machine: Kernel) -> None:
        relocations = (Relocation(".text", 0, "w", R_64, 7),)
        module = machine.insmod(made(needs=(Symbol("w", bind=STB_WEAK),), relocations=relocations))
        address, _ = module.layout.sections[".text"]
        assert machine.core.memory.u64(address) == 7

    def test_a_value_that_does_not_fit_is_refused(self, machine: Kernel) -> None:
        far = Symbol("far", 0xFFF1, 0x1234_5678_0000)
        log = refused(machine, made(needs=(far,), relocations=(Relocation(".text", 0, "far", R_PC32),)))
        overflow, advice = log.splitlines()[-2:]
        assert overflow.startswith("module: overflow in relocation type 2 val ")
        assert advice == "module: `m' likely not compiled with -mcmodel=kernel"

    def test_a_module_that_was_refused_can_be_loaded_later(self, machine: Kernel) -> None:
        refused(machine, made(needs=(Symbol("no_such"),)), ENOENT)
        assert machine.insmod(made()).state is ModuleState.LIVE


class TestNames:
    """add_unformed_module()."""

    def test_a_module_is_loaded_once(self, machine: Kernel) -> None:
        machine.insmod(made())
        refused(machine, made(), EEXIST)
        machine.rmmod("m")
        machine.insmod(made())

    def test_a_module_that_is_going_is_in_the_way(self, machine: Kernel) -> None:
        module = machine.insmod(made())
        machine.core.modules.set_state(module, ModuleState.GOING)
        refused(machine, made(), EBUSY)


@pytest.mark.parametrize(
    ("data", "errno"),
    [
        (made(info=("license=GPL", "vermagic=other ")), ENOEXEC),
        (made(name="first"), EEXIST),
        (made(needs=(Symbol("no_such"),)), ENOENT),
        (made(init=b"\xb8\xfb\xff\xff\xff\xc3"), EIO),  # mov $-5,%eax; ret
    ],
    ids=["vermagic", "name", "symbol", "init"],
)
def test_a_module_that_is_refused_takes_no_memory(machine: Kernel, data: bytes, errno: int) -> None:
    machine.insmod(made(name="first"))
    frames_left = machine.core.memory.frames_left
    refused(machine, data, errno)
    at_first = frames_left()
    machine.core.run_task("insmod", lambda: 0)
    after_a_task = frames_left()
    refused(machine, data, errno)
    assert after_a_task - frames_left() == at_first - after_a_task, "nothing beyond what its task takes"


class TestExports:
    """__ksymtab: three relative offsets for each symbol, to its value, its name and its namespace."""

    def exporting(self, *names: str, gpl: bool = False, namespace: str = "", crc: int | None = None) -> bytes:
        suffix = "_gpl" if gpl else ""
        table, strings, offsets = f"__ksymtab{suffix}", modinfo(*names, namespace), [0]
        for name in names:
            offsets.append(offsets[-1] + len(name) + 1)
        symbols = [Symbol(f"name{n}", "__ksymtab_strings", at) for n, at in enumerate(offsets)]
        relocations = []
        for n in range(len(names)):
            space = f"name{len(names)}"
            for field, target in enumerate(("own", f"name{n}", space)):
                if target != space or namespace:
                    relocations.append(Relocation(table, 12 * n + 4 * field, target, R_PC32))
        sections = [Section(table, bytes(12 * len(names)), align=4), Section("__ksymtab_strings", strings)]
        if crc is not None:
            crcs = b"".join(struct.pack("<I", crc + n) for n in range(len(names)))
            sections.append(Section(f"__kcrctab{suffix}", crcs, align=4))
        return made(name="e", sections=tuple(sections), needs=tuple(symbols), relocations=tuple(relocations))

    @pytest.mark.parametrize("gpl", [False, True])
    @pytest.mark.parametrize("namespace", ["", "SPACE"])
    @pytest.mark.parametrize("crc", [None, 0x1000])
    def test_exports_are_found_with_all_that_is_known_of_them(
        self, machine: Kernel, gpl: bool, namespace: str, crc: int | None
    ) -> None:
        module = machine.insmod(self.exporting("first", "second", gpl=gpl, namespace=namespace, crc=crc))
        for n, name in enumerate(("first", "second")):
            found = machine.core.modules.find_symbol(name)
            assert found is not None
            assert found.address == module.layout.sections[".text"][0]
            assert (found.gpl, found.namespace, found.owner) == (gpl, namespace, "e")
            assert found.crc == (None if crc is None else crc + n)

    def test_a_symbol_is_exported_once(self, machine: Kernel) -> None:
        log = refused(machine, self.exporting("fine", "kfree"))
        assert log.endswith("e: exports duplicate symbol kfree (owned by kernel)")
        assert machine.core.modules.find_symbol("fine") is None

    def test_a_symbol_of_a_namespace_has_to_be_imported(self, machine: Kernel) -> None:
        machine.insmod(self.exporting("f", namespace="SPACE"))
        log = refused(machine, made(needs=(Symbol("f"),)), EINVAL)
        message = "module uses symbol (f) from namespace SPACE, but does not import it."
        assert log.splitlines()[-2:] == [f"m: {message}", "m: Unknown symbol f (err -22)"]
        machine.insmod(made("import_ns=SPACE", needs=(Symbol("f"),)))

    def test_a_namespace_may_name_the_modules_that_use_it(self, machine: Kernel) -> None:
        """EXPORT_SYMBOL_FOR_MODULES() of v6.16."""
        machine.insmod(self.exporting("f", namespace="module:other,m"))
        machine.insmod(made(needs=(Symbol("f"),)))

    def test_a_namespace_that_names_other_modules_is_closed(self, machine: Kernel) -> None:
        machine.insmod(self.exporting("f", namespace="module:other,mm"))
        log = refused(machine, made(needs=(Symbol("f"),)), EINVAL)
        assert "m: module uses symbol (f) from namespace module:other,mm, but does not import it." in log

    @pytest.mark.parametrize(
        ("crcs", "complaint"),
        [({"f": 2}, "m: disagrees about version of symbol f"), ({"g": 1}, "m: no symbol version for f")],
    )
    def test_a_symbol_of_another_version_is_refused(
        self, machine: Kernel, crcs: dict[str, int], complaint: str
    ) -> None:
        machine.insmod(self.exporting("f", crc=1))
        sections = (Section("__versions", versions(crcs)),)
        log = refused(machine, made(sections=sections, needs=(Symbol("f"),)), EINVAL)
        assert log.splitlines()[-2:] == [complaint, "m: Unknown symbol f (err -22)"]
        machine.insmod(made(sections=(Section("__versions", versions({"f": 1})),), needs=(Symbol("f"),)))

    def test_a_proprietary_module_finds_no_symbol_for_gpl_modules(self, machine: Kernel) -> None:
        machine.insmod(self.exporting("f", gpl=True))
        data = made("license=Proprietary", needs=(Symbol("f"),))
        assert refused(machine, data, ENOENT).endswith("m: Unknown symbol f (err -2)")

    def test_the_user_of_a_proprietary_modules_symbol_is_tainted_by_it(self, machine: Kernel) -> None:
        """inherit_taint()."""
        data = self.exporting("f").replace(b"license=GPL\0", b"license=Own\0")
        machine.insmod(data)
        user = machine.insmod(made(needs=(Symbol("f"),)))
        assert "P" in user.taints
        assert "m: module uses symbols f from proprietary module e, inheriting taint." in machine.dmesg()
