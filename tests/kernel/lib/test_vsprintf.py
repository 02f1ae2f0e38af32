"""snprintf() and its kin as a module calls them. tests/golden has every conversion (printk_formats)."""

from __future__ import annotations

import pytest
from tests.kernel.conftest import Guest

from ukmod.errors import KernelPanic
from ukmod.kernel.core import Core
from ukmod.kernel.lib.vsprintf import vformat
from ukmod.kernel.mm.gfp import GFP_KERNEL
from ukmod.machine.registers import MASK64


class Args:
    """A va_list of plain numbers."""

    def __init__(self, *values: int) -> None:
        self._values = iter(values)

    def next(self) -> int:
        return next(self._values) & (1 << 64) - 1


def test_snprintf_tells_the_length_it_would_have_had(guest: Guest) -> None:
    buffer = guest.put(b"", room=8)
    assert guest.call_int("snprintf", buffer, 8, b"%s", b"123456789") == 9
    assert guest.string(buffer) == b"1234567"


def test_scnprintf_tells_the_length_that_fitted(guest: Guest) -> None:
    buffer = guest.put(b"", room=8)
    assert guest.call_int("scnprintf", buffer, 8, b"%s", b"123456789") == 7
    assert guest.call_int("scnprintf", buffer, 0, b"%s", b"x") == 0


def test_arguments_beyond_the_registers_come_from_the_stack(guest: Guest) -> None:
    buffer = guest.put(b"", room=64)
    guest.call("sprintf", buffer, b"%d %d %d %d %d %d %d %d", *range(1, 9))
    assert guest.string(buffer) == b"1 2 3 4 5 6 7 8"


def test_an_int_is_the_low_half_of_its_register(guest: Guest) -> None:
    buffer = guest.put(b"", room=64)
    guest.call("sprintf", buffer, b"%d %u %hhx", 0x1_FFFF_FFFF, 0x5_0000_0001, 0x1234)
    assert guest.string(buffer) == b"-1 1 34"


def test_kasprintf_allocates_what_it_needs(guest: Guest) -> None:
    text = guest.call("kasprintf", 0xCC0, b"eth%d", 7) & (1 << 64) - 1
    assert guest.string(text) == b"eth7"
    guest.call("kfree", text)


def test_pointers_are_hashed_and_the_same_each_time(kernel: Core) -> None:
    address = kernel.percpu.base
    first, second, other = (vformat(kernel, b"%p", Args(a)) for a in (address, address, address + 8))
    assert first == second != other
    assert first.startswith(b"00000000")
    assert len(first) == 16


def test_pointers_that_are_no_addresses_are_told(kernel: Core) -> None:
    assert vformat(kernel, b"%s %s %p", Args(0, 16, 0)) == b"(null) (efault) 0000000000000000"
    assert vformat(kernel, b"%pe", Args(-517)) == b"-EPROBE_DEFER"


def test_symbols_are_named_with_their_offsets(kernel: Core) -> None:
    address = kernel.symbols.address("snprintf")
    assert vformat(kernel, b"%ps %pS", Args(address, address + 4)).startswith(b"snprintf snprintf+0x4/0x")


def test_an_unterminated_array_can_be_printed_with_a_precision(kernel: Core) -> None:
    page = kernel.memory.map_direct(kernel.memory.alloc_frames(1), 4096)
    kernel.memory.unmap(page + 4096, 4096)
    kernel.memory.write(page + 4092, b"abcd")
    assert vformat(kernel, b"%.4s", Args(page + 4092)) == b"abcd"


def test_an_unknown_conversion_ends_the_text_and_warns_once(kernel: Core) -> None:
    assert [vformat(kernel, b"a%yb", Args(1)) for _ in range(2)] == [b"a", b"a"]
    warnings = [line for line in kernel.log.lines if line.startswith("Please remove unsupported %y")]
    assert len(warnings) == 1


class TestAllocated:
    """lib/kasprintf.c"""

    def va_list(self, guest: Guest, *values: int | bytes) -> int:
        """A va_list whose arguments are all on the stack."""
        words = [guest.put(value) if isinstance(value, bytes) else value for value in values]
        return guest.words(48 | 304 << 32, guest.words(*words), 0)

    @pytest.mark.parametrize("function", ["kvasprintf", "kvasprintf_const"])
    def test_a_text_of_any_length_is_allocated(self, guest: Guest, function: str) -> None:
        args = self.va_list(guest, b"x" * 5000, 7)
        text = guest.call(function, GFP_KERNEL, b"%s%d", args) & MASK64
        assert guest.string(text) == b"x" * 5000 + b"7"
        guest.call("kfree_const", text)
        assert not guest.kernel.reports

    @pytest.mark.parametrize(("fmt", "text"), [(b"plain", b"plain"), (b"%s", b"string"), (b"100%%", b"100%")])
    def test_what_needs_no_formatting_is_copied(self, guest: Guest, fmt: bytes, text: bytes) -> None:
        found = guest.call("kvasprintf_const", GFP_KERNEL, fmt, self.va_list(guest, b"string"))
        assert guest.string(found & MASK64) == text

    def test_no_string_at_all_stays_null(self, guest: Guest) -> None:
        """kstrdup_const(NULL); kvasprintf() formats it."""
        assert guest.call("kvasprintf_const", GFP_KERNEL, b"%s", self.va_list(guest, 0)) == 0
        assert (
            guest.string(guest.call("kvasprintf", GFP_KERNEL, b"%s", self.va_list(guest, 0)) & MASK64)
            == b"(null)"
        )


@pytest.mark.parametrize("precision", [-1, -5, -(1 << 31)])
def test_a_negative_precision_prints_nothing_of_a_string(guest: Guest, precision: int) -> None:
    buffer = guest.put(b"", room=16)
    assert guest.call_int("sprintf", buffer, b"%4.*s|%.*d", precision, b"123456", precision, 7) == 6
    assert guest.string(buffer) == b"    |7"


@pytest.mark.parametrize(
    ("fmt", "args", "text"),
    [
        (b"%*d", (1 << 23, 1), "field width 8388608 too large"),
        (b"%.*d", (1 << 15, 1), "precision 32768 too large"),
        (b"%.*d", (-(1 << 15) - 1, 1), "precision -32769 too large"),
    ],
)
def test_a_width_or_precision_that_does_not_fit_is_warned_of_once(
    kernel: Core, fmt: bytes, args: tuple[int, ...], text: str
) -> None:
    for _ in range(2):
        vformat(kernel, fmt, Args(*args))
    assert [warning.message for warning in kernel.warnings] == [text]


def test_a_width_in_the_format_keeps_the_bits_that_the_kernel_stores(kernel: Core) -> None:
    assert vformat(kernel, b"%16777219d|%.65538d|%.40000s", Args(1, 2, kernel.lib.empty_string)) == b"  1|02|"


def test_page_flags_without_a_name_are_left_out(guest: Guest, kernel: Core) -> None:
    flags = guest.put((0x200_0000 | 1 << 4).to_bytes(8, "little"))
    assert vformat(kernel, b"%pGp", Args(flags)) == b"0x2000010(lru|node=0|zone=0|lastcpupid=0x0)"


def test_pointers_are_not_hashed_if_the_kernel_says_so(kernel: Core) -> None:
    variable = kernel.symbols.find("no_hash_pointers")
    assert variable is not None
    kernel.memory.set_u8(variable.address, 1)
    assert vformat(kernel, b"%p", Args(0xFFFF_8880_0000_1234)) == b"ffff888000001234"


@pytest.fixture
def nodes(guest: Guest) -> tuple[int, int]:
    """Two struct fwnode_handles, the second of which is the parent of the first."""
    k = guest.kernel
    at, size = k.types.offset, k.types.sizeof
    parent, child = guest.put(b"", room=size("fwnode_handle")), guest.put(b"", room=size("fwnode_handle"))
    names = {child: guest.put(b"port@1"), parent: guest.put(b"soc")}
    separator, nothing = guest.put(b"/"), guest.put(b"")
    functions = {
        "get_parent": lambda node: parent if node == child else 0,
        "get_name": lambda node: names[node],
        "get_name_prefix": lambda node: separator if node == child else nothing,
    }
    ops = guest.put(b"", room=size("fwnode_operations"))
    k.memory.write(ops, bytes(size("fwnode_operations")))
    for name, function in functions.items():
        k.memory.set_u64(ops + at("fwnode_operations", name), guest.python(function, 1))
    for node in (parent, child):
        k.memory.set_u64(node + at("fwnode_handle", "ops"), ops)
    return child, parent


@pytest.mark.parametrize(
    ("fmt", "text"),
    [
        (b"%pfw", b"soc/port@1"),
        (b"%pfwf", b"soc/port@1"),
        (b"%-12pfw|", b"soc/port@1  |"),
        (b"%pfwP", b"port@1"),
        (b"%8pfwP", b"  port@1"),
        (b"%pfx", b"(%pf?)"),
    ],
)
def test_a_firmware_node_is_named_by_its_own_functions(
    guest: Guest, nodes: tuple[int, int], fmt: bytes, text: bytes
) -> None:
    buffer = guest.put(b"", room=32)
    guest.call("sprintf", buffer, fmt, nodes[0])
    assert guest.string(buffer) == text


def test_a_firmware_node_without_functions_has_no_name(guest: Guest) -> None:
    node, buffer = guest.put(bytes(64)), guest.put(b"", room=32)
    guest.call("sprintf", buffer, b"%pfwP", node)
    assert guest.string(buffer) == b"(null)"


def va_format(guest: Guest, fmt: bytes, *values: int) -> int:
    """The address of a struct va_format."""
    return guest.words(guest.put(fmt), guest.va_list(*values))


def test_formats_are_nested_as_deep_as_the_stack_has_room(guest: Guest) -> None:
    innermost = va_format(guest, b"in%d", 7)
    nested = innermost
    for _ in range(100):
        nested = va_format(guest, b"(%pV)", nested)
    buffer = guest.put(b"", room=512)
    assert guest.call_int("snprintf", buffer, 512, b"%pV", nested) == 203
    assert guest.string(buffer) == b"(" * 100 + b"in7" + b")" * 100


def test_a_format_of_itself_panics_as_the_real_kernel_does(guest: Guest) -> None:
    arguments = guest.va_list(0)
    itself = guest.words(guest.put(b"%pV"), arguments)
    memory = guest.kernel.memory
    memory.set_u64(memory.u64(arguments + 8), itself)
    with pytest.raises(KernelPanic, match="Fatal exception in interrupt"):
        guest.call("snprintf", guest.put(b"", room=8), 8, b"%pV", itself)
    (oops,) = guest.kernel.oopses
    assert oops.text().startswith("BUG: TASK stack guard page was hit at ")
