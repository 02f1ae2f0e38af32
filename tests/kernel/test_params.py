"""Module parameters: kernel/params.c; tests/golden has what each kind does on a real kernel (params*)."""

from __future__ import annotations

from errno import EACCES, EINVAL, ENOENT, ENOSPC, ERANGE

import pytest
from tests.golden import modules as compiled
from tests.kernel.conftest import Guest

from ukmod.errors import LoadError
from ukmod.kernel.api import Kernel
from ukmod.kernel.params import params_at, parse_args

IMAGE = compiled()["params"]


def load(machine: Kernel, args: str) -> None:
    machine.insmod(IMAGE.read_bytes(), args)


def value(machine: Kernel, name: str) -> str:
    return machine.read(f"/sys/module/params/parameters/{name}").removesuffix("\n")


def refused(machine: Kernel, args: str) -> int:
    with pytest.raises(LoadError) as caught:
        load(machine, args)
    assert "params" not in machine.modules
    assert caught.value.errno is not None
    return caught.value.errno


def written(machine: Kernel, name: str, text: str) -> int:
    """The errno of a write to the parameter's file, 0 if it was taken."""
    try:
        machine.write(f"/sys/module/params/parameters/{name}", text)
    except OSError as error:
        return error.errno or 0
    return 0


class TestTheLine:
    """parse_args(): names, values, quotes and what is between them."""

    def test_dashes_and_underscores_are_the_same(self, machine: Kernel) -> None:
        """parameq() in kernel/params.c."""
        load(machine, "an-int=5 enable_only=1 a-hexint=7")
        assert (value(machine, "an_int"), value(machine, "enable_only")) == ("5", "Y")
        assert value(machine, "a_hexint") == "0x000007"

    def test_dashes_in_values_stay_dashes(self, machine: Kernel) -> None:
        load(machine, "a_charp=a-b_c")
        assert value(machine, "a_charp") == "a-b_c"

    @pytest.mark.parametrize("space", [" ", "\t", "\n", "  \n "])
    def test_any_space_separates_and_may_lead_and_trail(self, machine: Kernel, space: str) -> None:
        load(machine, f"{space}an_int=1{space}a_uint=2{space}")
        assert (value(machine, "an_int"), value(machine, "a_uint")) == ("1", "2")

    def test_the_last_of_several_counts(self, machine: Kernel) -> None:
        load(machine, "an_int=1 an_int=2 a_charp=x a_charp=y")
        assert (value(machine, "an_int"), value(machine, "a_charp")) == ("2", "y")

    @pytest.mark.parametrize(
        "args",
        ['a_charp="two words"', '"a_charp=two words"'],
        ids=["around the value", "around the whole"],
    )
    def test_quotes_keep_words_together_and_are_taken_off(self, machine: Kernel, args: str) -> None:
        load(machine, f"{args} an_int=3")
        assert (value(machine, "a_charp"), value(machine, "an_int")) == ("two words", "3")

    def test_quotes_inside_a_value_stay(self, machine: Kernel) -> None:
        load(machine, 'a_charp=a" "b')
        assert value(machine, "a_charp") == 'a" "b'

    def test_a_value_may_hold_an_equals_sign(self, machine: Kernel) -> None:
        load(machine, "a_charp=key=value")
        assert value(machine, "a_charp") == "key=value"

    def test_what_follows_two_dashes_is_not_for_the_kernel(self, machine: Kernel) -> None:
        load(machine, "an_int=1 -- an_int=2")
        assert value(machine, "an_int") == "1"
        assert "params: parameters 'an_int=2' after `--' ignored" in machine.dmesg()


class TestUnknown:
    """unknown_module_param_cb(), kernel/module/main.c: a module loads with them."""

    def test_is_ignored_with_a_warning(self, machine: Kernel) -> None:
        load(machine, "nonesuch=1 an_int=2")
        assert value(machine, "an_int") == "2"
        assert "params: unknown parameter 'nonesuch' ignored" in machine.dmesg()

    @pytest.mark.parametrize("name", ["async_probe", "dyndbg", "params.dyndbg"])
    def test_parameters_that_the_loader_takes_are_not_unknown(self, machine: Kernel, name: str) -> None:
        load(machine, f"{name}=1")
        assert "unknown parameter" not in machine.dmesg()

    def test_a_modules_name_in_front_is_not_for_insmod(self, machine: Kernel) -> None:
        """``module.parameter`` is the kernel command line's; modprobe takes the prefix off."""
        load(machine, "params.an_int=7")
        assert value(machine, "an_int") == "-1"


class TestRefused:
    """What a kind does not take fails the load, with the errno that its set function returned."""

    @pytest.mark.parametrize(
        ("args", "errno"),
        [
            ("a_byte=256", ERANGE),
            ("a_byte=-1", EINVAL),
            ("a_short=-32769", ERANGE),
            ("a_ushort=65536", ERANGE),
            ("an_int=2147483648", ERANGE),
            ("an_int=1x", EINVAL),
            ("a_uint=0x100000000", ERANGE),
            ("a_long=9223372036854775808", ERANGE),
            ("a_ullong=18446744073709551616", ERANGE),
            ("a_bool=2", EINVAL),
            ("bint=", EINVAL),
        ],
    )
    def test_out_of_range_is_told_from_nonsense(self, machine: Kernel, args: str, errno: int) -> None:
        name, _, text = args.partition("=")
        assert refused(machine, args) == errno
        assert f"params: `{text}' invalid for parameter `{name}'" in machine.dmesg()

    @pytest.mark.parametrize("name", ["an_int", "a_charp", "an_invbool", "array", "even"])
    def test_a_value_must_be_given(self, machine: Kernel, name: str) -> None:
        """Unless its ops say KERNEL_PARAM_OPS_FL_NOARG: see parse_one()."""
        assert refused(machine, name) == EINVAL
        assert f"params: `' invalid for parameter `{name}'" in machine.dmesg()

    def test_the_rest_is_set_all_the_same_and_the_last_error_is_returned(self, machine: Kernel) -> None:
        assert refused(machine, "an_int=x even=3 a_charp=y") == ERANGE
        assert "params: `x' invalid for parameter `an_int'" in machine.dmesg()
        assert not machine.leaks(), "the text that a_charp was set to"

    def test_a_string_too_long_has_words_of_its_own(self, machine: Kernel) -> None:
        assert refused(machine, "text=12345678") == ENOSPC
        log = machine.dmesg()
        assert "text: string doesn't fit in 7 chars." in log
        assert "params: `12345678' too large for parameter `text'" in log

    def test_a_charp_takes_1024_bytes(self, machine: Kernel) -> None:
        load(machine, "a_charp=" + 1024 * "x")
        assert value(machine, "a_charp") == 1024 * "x"
        machine.rmmod("params")
        assert refused(machine, "a_charp=" + 1025 * "x") == ENOSPC
        assert "a_charp: string parameter too long" in machine.dmesg()


class TestBooleans:
    """kstrtobool() and the four kinds that are made of it."""

    @pytest.mark.parametrize("text", ["1", "y", "Y", "yes", "on", "ON", "t", "true"])
    def test_true(self, machine: Kernel, text: str) -> None:
        load(machine, f"a_bool={text} an_invbool={text} bint={text}")
        assert [value(machine, name) for name in ("a_bool", "an_invbool", "bint")] == ["Y", "Y", "1"]

    @pytest.mark.parametrize("text", ["0", "n", "No", "off", "oF", "f"])
    def test_false(self, machine: Kernel, text: str) -> None:
        load(machine, f"a_bool={text} an_invbool={text} bint={text}")
        assert [value(machine, name) for name in ("a_bool", "an_invbool", "bint")] == ["N", "N", "0"]

    def test_an_invbool_stores_the_opposite(self, machine: Kernel) -> None:
        load(machine, "an_invbool=1")
        assert "invbool 0" in machine.dmesg(), "what the module sees"
        assert value(machine, "an_invbool") == "Y", "what its file shows"

    def test_no_value_is_true(self, machine: Kernel) -> None:
        load(machine, "a_bool enable_only bint")
        assert [value(machine, name) for name in ("a_bool", "enable_only", "bint")] == ["Y", "Y", "1"]


class TestArrays:
    """module_param_array(): values between commas, each for the set function of the elements' kind."""

    def test_fewer_than_there_is_room_for_are_counted(self, machine: Kernel) -> None:
        load(machine, "array=9,8")
        assert value(machine, "array") == "9,8"
        assert "array 9,8,3,4 (2 given)" in machine.dmesg()

    def test_an_array_without_a_count_variable_is_not_counted(self, machine: Kernel) -> None:
        load(machine, "names=a")
        assert value(machine, "names") == "a,(null)"

    def test_too_many(self, machine: Kernel) -> None:
        assert refused(machine, "array=1,2,3,4,5") == EINVAL
        assert "array: can only take 4 arguments" in machine.dmesg()

    @pytest.mark.parametrize("values", ["", ",", "1,", ",1", "1,,2"])
    def test_an_empty_element_is_for_its_kind_to_refuse(self, machine: Kernel, values: str) -> None:
        assert refused(machine, f"array={values}") == EINVAL

    def test_empty_strings_are_strings(self, machine: Kernel) -> None:
        load(machine, "names=,")
        assert value(machine, "names") == ","

    def test_each_string_is_freed_with_the_module(self, machine: Kernel) -> None:
        load(machine, "names=one,two a_charp=three")
        machine.rmmod("params")
        assert not machine.leaks()


class TestFiles:
    """/sys/module/NAME/parameters: kernel/params.c, param_attr_show() and param_attr_store()."""

    def test_a_parameter_without_permissions_has_none(self, machine: Kernel) -> None:
        load(machine, "hidden=1")
        assert "hidden" not in machine.core.procfs.list("/sys/module/params/parameters")
        with pytest.raises(FileNotFoundError):
            value(machine, "hidden")
        assert written(machine, "hidden", "2") == ENOENT

    def test_a_parameters_file_has_the_name_that_the_module_gave(self, machine: Kernel) -> None:
        load(machine, "other-name=4")
        assert value(machine, "other_name") == "4"
        assert written(machine, "renamed", "1") == ENOENT, "the variable's"
        assert written(machine, "other-name", "1") == ENOENT, "files have one name only"

    def test_a_read_only_parameter_refuses_even_root(self, machine: Kernel) -> None:
        """kernfs_fop_open(): sysfs looks at the mode even for those with CAP_DAC_OVERRIDE."""
        load(machine, "other_name=1")
        assert written(machine, "other_name", "2") == EACCES
        assert value(machine, "other_name") == "1"

    def test_a_write_only_parameter_cannot_be_read(self, machine: Kernel) -> None:
        load(machine, "an_int=1")
        k, module = machine.core, machine.modules["params"]
        (param,) = (p for p in params_at(k, module.params, module.param_count) if p.name == "an_int")
        perm = k.memory.translate(param.address + k.types.offset("kernel_param", "perm"))
        k.memory.view[perm : perm + 2] = (0o200).to_bytes(2, "little")  # the section is read-only by now
        assert written(machine, "an_int", "2") == 0
        with pytest.raises(LoadError) as caught:
            value(machine, "an_int")
        assert caught.value.errno == EACCES

    def test_a_newline_at_the_end_is_no_part_of_a_number_but_of_a_string(self, machine: Kernel) -> None:
        """``echo 5 > an_int`` works as kstrtoint() takes it; charp stores what it is given."""
        load(machine, "")
        assert written(machine, "an_int", "5\n") == 0
        assert value(machine, "an_int") == "5"
        assert written(machine, "a_charp", "x\n") == 0
        assert value(machine, "a_charp") == "x\n"

    def test_what_is_refused_changes_nothing(self, machine: Kernel) -> None:
        load(machine, "an_int=4 text=abc")
        assert written(machine, "an_int", "four") == EINVAL
        assert written(machine, "an_int", "4294967296") == ERANGE
        assert written(machine, "text", "too long for it") == ENOSPC
        assert (value(machine, "an_int"), value(machine, "text")) == ("4", "abc")

    def test_enable_only_goes_one_way(self, machine: Kernel) -> None:
        load(machine, "")
        assert written(machine, "enable_only", "0") == 0, "that is what it is"
        assert written(machine, "enable_only", "1") == 0
        with pytest.raises(OSError, match="Read-only file system"):
            machine.write("/sys/module/params/parameters/enable_only", "0")
        assert value(machine, "enable_only") == "Y"

    def test_a_new_string_takes_the_place_of_the_old(self, machine: Kernel) -> None:
        load(machine, "a_charp=first")
        for text in ("second", "third"):
            assert written(machine, "a_charp", text) == 0
        assert value(machine, "a_charp") == "third"
        machine.rmmod("params")
        assert not machine.leaks()

    def test_the_modules_own_functions_are_called(self, machine: Kernel) -> None:
        load(machine, "even=4")
        assert value(machine, "even") == "<4>"
        assert written(machine, "even", "5") == ERANGE
        assert 'set_even("5")' in machine.dmesg()
        assert value(machine, "even") == "<4>"


def test_a_dangerous_option_taints(machine: Kernel) -> None:
    """module_param_unsafe(); param_check_unsafe() does so before it is known whether the value is taken."""
    assert refused(machine, "unsafe=x") == EINVAL
    assert "Setting dangerous option unsafe - tainting kernel" in machine.dmesg()
    assert machine.core.taint.has("U")


@pytest.mark.parametrize(("level", "seen"), [(-1, "9"), (5, "4")])
def test_a_parameter_of_another_boot_level_is_left_alone(machine: Kernel, level: int, seen: str) -> None:
    """parse_one(): module_param()s have level -1; those of core_param() and its kin belong to boot stages."""
    load(machine, "an_int=4")
    k, module = machine.core, machine.modules["params"]
    (param,) = (p for p in params_at(k, module.params, module.param_count) if p.name == "an_int")
    copy = k.slab.kmalloc(k.types.sizeof("kernel_param"))
    k.memory.write(copy, k.memory.read(param.address, k.types.sizeof("kernel_param")))
    k.memory.set_u8(copy + k.types.offset("kernel_param", "level"), level & 0xFF)
    results: list[int] = []
    machine.start("parser", lambda core: results.append(parse_args(core, "params", b"an_int=9", copy, 1)))
    machine.run(0.1)
    assert results == [0]
    assert value(machine, "an_int") == seen


class TestTheModulesOwnSetFunctions:
    """Exported functions that a module's set function calls."""

    @pytest.fixture
    def guest(self, machine: Kernel) -> Guest:
        load(machine, "")
        return Guest(machine.core)

    @pytest.mark.parametrize(
        ("text", "status"),
        [
            (b"2", 0),
            (b"0x10\n", 0),
            (b"1", -EINVAL),
            (b"17", -EINVAL),
            (b"-2", -EINVAL),
            (b"4294967296", -ERANGE),
            (b"two", -EINVAL),
            (0, -EINVAL),
        ],
    )
    def test_a_number_within_limits(self, guest: Guest, text: bytes | int, status: int) -> None:
        """param_set_uint_minmax(): the limits belong to the range; NULL is a parameter without a value."""
        result = guest.words(9, size=4)
        arg = guest.kernel.types.offset("kernel_param", "arg")
        param = guest.put(bytes(arg) + result.to_bytes(8, "little"))
        assert guest.call_int("param_set_uint_minmax", text, param, 2, 16) == status
        stored = guest.kernel.memory.u32(result)
        assert stored == (int(text, 0) if isinstance(text, bytes) and not status else 9)

    def test_a_module_may_lock_its_parameters_and_they_can_be_set_after(
        self, machine: Kernel, guest: Guest
    ) -> None:
        module = machine.modules["params"].address
        guest.call("kernel_param_lock", module)
        guest.call("kernel_param_unlock", module)
        assert written(machine, "an_int", "7") == 0
        assert value(machine, "an_int") == "7"
