"""What Python's half takes for granted about an image: whether it holds is seen before the image runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.real import debian

from ukmod.errors import LayoutError
from ukmod.kernel.api import Kernel
from ukmod.kernel.core import Core
from ukmod.kernel.exports import kernel_functions
from ukmod.kernel.image import assumptions, hardware, interpose, per_cpu
from ukmod.kernel.image.assumptions import ARGUMENTS, CALLS, ENTRY, STATE, TYPE, Assumption, Standing, check
from ukmod.kernel.image.interpose import difference, parts, replacements
from ukmod.kernel.image.members import MemberUse, uses
from ukmod.kernel.image.natives import LEFT_NATIVE, unclaimed
from ukmod.machine.abi import CStr, Int, Long, Ptr, ULong, VarArgs
from ukmod.machine.image.image import KernelImage
from ukmod.machine.image.symbols import ImageSymbol
from ukmod.machine.types.layout import FormalParameter, Kind, Prototype, Type
from ukmod.machine.types.select import types_for
from ukmod.machine.types.types import Types

INT, LONG = Type(Kind.INT, 4, "int", signed=True), Type(Kind.INT, 8, "long int", signed=True)
POINTER, VOID = Type(Kind.POINTER, 8, target=Type(Kind.VOID, 0)), Type(Kind.VOID, 0)


def prototype(returns: Type, *parameters: Type, variadic: bool = False) -> Prototype:
    named = (FormalParameter(f"p{n}", kind) for n, kind in enumerate(parameters))
    return Prototype("f", returns, tuple(named), variadic)


def f_two(k: Core, page: Ptr, order: Int) -> None: ...
def f_long(k: Core, number: Long) -> Int:
    return number


def f_printf(k: Core, fmt: CStr, args: VarArgs) -> Int:
    return 0


def f_size(k: Core, size: ULong) -> None: ...


@pytest.mark.parametrize(
    ("function", "image"),
    [
        (f_two, prototype(VOID, POINTER, INT)),
        (f_two, prototype(VOID, POINTER, INT, POINTER)),  # a parameter that is not read
        (f_long, prototype(INT, LONG)),
        (f_printf, prototype(INT, POINTER, variadic=True)),
        (f_size, prototype(VOID, POINTER)),  # an address is an address
    ],
)
def test_a_function_fits_that_reads_what_is_passed(function: Callable[..., Any], image: Prototype) -> None:
    assert difference(function, image) == ""


@pytest.mark.parametrize(
    ("function", "image", "what"),
    [
        (f_two, prototype(VOID, POINTER), "2 parameters are read"),
        (f_two, prototype(VOID, INT, POINTER), "page is read as void *"),
        (f_two, prototype(INT, POINTER, INT), "its result is not given"),
        (f_long, prototype(INT, INT), "number is read as long"),
        (f_printf, prototype(INT, POINTER), "it is not variadic"),
    ],
)
def test_what_does_not_fit_is_said(function: Callable[..., Any], image: Prototype, what: str) -> None:
    assert difference(function, image) == what


EVERY = [
    None,
    *debian.others("real"),
    *(pytest.param(name, marks=pytest.mark.kernels) for name in debian.others("more")),
]
"""The kernel of tools/release, and the others."""


@pytest.fixture(scope="module", params=EVERY, ids=lambda name: name or "release")
def found(request: pytest.FixtureRequest) -> tuple[Assumption, ...]:
    """The assumptions about an image of Debian's."""
    package = debian.require_other(request.param) if request.param else debian.require()
    image = KernelImage(str(package.vmlinuz))
    return check(image, types_for((), kernel=image))


@pytest.mark.real
def test_each_holds_or_is_not_needed(found: tuple[Assumption, ...]) -> None:
    """A new kernel's functions that look for what Python keeps are named here: implement or explain them."""
    assert [str(one) for one in found if one.state is Standing.UNMET] == []


@pytest.mark.real
@pytest.mark.parametrize("found", [None], ids=["release"], indirect=True)
def test_each_kind_is_looked_for(found: tuple[Assumption, ...]) -> None:
    assert Assumption("kfree", ARGUMENTS, Standing.HOLDS) in found
    assert Assumption("raise_softirq_irqoff", ENTRY, Standing.HOLDS) in found
    assert Assumption("put_pid", CALLS, Standing.HOLDS) in found
    assert Assumption("cpu_tlbstate", TYPE, Standing.HOLDS) in found
    detail = "the image has no such function"
    assert Assumption("kmalloc_order", ARGUMENTS, Standing.NOT_NEEDED, detail) in found
    detail = LEFT_NATIVE["ww_mutex_lock"]
    assert Assumption("ww_mutex_lock", STATE, Standing.NOT_NEEDED, detail) in found


@pytest.mark.real
@pytest.mark.parametrize(
    "name", ["queue_work_on", "call_rcu", "mutex_lock", "hrtimer_try_to_cancel", "down_read"]
)
def test_a_function_that_is_not_replaced_is_noticed(release: KernelImage, name: str) -> None:
    types = types_for((), kernel=release)
    functions = tuple(function for function in replacements(types) if function.name != name)
    with pytest.MonkeyPatch.context() as patch:
        patch.delitem(kernel_functions(), name)
        assert name in unclaimed(release, types, functions)


def test_a_part_is_replaced_that_has_all_of_its_functions_parameters() -> None:
    """Of several, it may lack some; a copy for constant arguments (constprop) lacks the only one."""
    names = ("kfree.part.0", "krealloc.part.0", "kfree.constprop.0", "no_such_function.part.0")
    symbols = [ImageSymbol(name, "t", 0) for name in names]
    assert parts(symbols, replacements(Types())) == {"kfree.part.0": "kfree"}


def test_what_an_image_keeps_itself_is_not_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """With PREEMPT_RT, mutexes and rw_semaphores are rt_mutexes, which are the image's own."""
    names = {"mutex_lock", "down_read", "kfree"}
    assert {one.name for one in replacements(Types())} >= names
    monkeypatch.setattr(
        Types, "has", lambda self, struct, member="": (struct, member) == ("mutex", "rtmutex")
    )
    assert {one.name for one in replacements(Types())} & names == {"kfree"}


def started(image: KernelImage) -> None:
    """Bring an image up, without a snapshot of an earlier time."""
    with Kernel(image=image.path, snapshot=False) as k:
        k.boot()


@pytest.fixture
def release() -> KernelImage:
    """The image of tools/release."""
    return KernelImage(str(debian.require().vmlinuz))


@pytest.mark.real
def test_a_function_that_does_not_fit_is_named_before_init_code_calls_it(
    release: KernelImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    unfit = {"__kmalloc": "void *__kmalloc(u128 size): size is read as unsigned long"}
    monkeypatch.setattr(interpose, "misfit", lambda function, types: unfit.get(function.name, ""))
    with pytest.raises(LayoutError, match=r"__kmalloc\(u128 size\).*\(\) calls it, so that the"):
        started(release)


@pytest.mark.real
def test_a_variable_that_is_too_small_is_not_written(
    release: KernelImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(hardware.VARIABLES, "nr_cpu_ids", (1, 64))
    found = check(release, types_for((), kernel=release))
    (unmet,) = (one for one in found if one.state is Standing.UNMET)
    assert (unmet.subject, unmet.endangers) == ("nr_cpu_ids", "the bring-up")
    with pytest.raises(LayoutError, match="nr_cpu_ids has 4 bytes, and 64 would be set"):
        started(release)


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "taken", "detail"),
    [
        ("__preempt_count", (2,), "it is int, of 4 bytes, not 2 bytes"),
        ("runqueues", ("struct run_queue",), "it is struct rq, of 3264 bytes, not struct run_queue"),
    ],
)
def test_a_per_cpu_variable_of_another_type_is_noticed(
    release: KernelImage, monkeypatch: pytest.MonkeyPatch, name: str, taken: tuple[str | int], detail: str
) -> None:
    monkeypatch.setitem(per_cpu.TAKEN_FOR, name, taken)
    found = check(release, types_for((), kernel=release))
    (unmet,) = (one for one in found if one.state is Standing.UNMET)
    assert unmet == Assumption(name, TYPE, Standing.UNMET, detail, "the bring-up")


@pytest.mark.real
def test_a_member_that_vanished_is_named_with_its_readers(
    release: KernelImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = {("timer_list", "no_such_member"): (MemberUse("time/timer.py", "f"),)}
    monkeypatch.setattr(assumptions, "uses", lambda: read)
    (unmet,) = (one for one in check(release, types_for((), kernel=release)) if one.state is Standing.UNMET)
    assert str(unmet) == (
        "struct timer_list: does not hold: it has the member no_such_member: there is no such member: "
        "modules that lead to f() of time/timer.py"
    )


def test_the_members_that_are_read_are_found_in_the_source() -> None:
    found = uses()
    assert MemberUse("time/hrtimer.py", "expires") in found["hrtimer", "node.expires"]  # Layout(...)[...]
    assert MemberUse("workqueue/api.py", "_at") not in found.get(("delayed_work", "member"), ())
    assert MemberUse("irq_work.py", "_run") in found["irq_work", "func"]  # types.offset(...)
    assert ("irq_work", "flags") not in found, "_flags() asks first"


@pytest.mark.real
def test_all_functions_fit_an_image_that_is_known(booted: Kernel) -> None:
    boot = booted.core.boot
    assert boot is not None
    assert boot.unfit == ()
    assert boot.damage == ""
