"""What Python's half takes for granted about an image: whether it holds is seen before the image runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.real import debian

from ukmod.kernel.api import Kernel
from ukmod.kernel.core import Core
from ukmod.kernel.image.assumptions import ARGUMENTS, CALLS, ENTRY, Assumption, Standing, check
from ukmod.kernel.image.interpose import difference
from ukmod.machine.abi import CStr, Int, Long, Ptr, ULong, VarArgs
from ukmod.machine.image.image import KernelImage
from ukmod.machine.types.layout import FormalParameter, Kind, Prototype, Type
from ukmod.machine.types.select import types_for

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


def unmet(release: KernelImage, assumed: str) -> dict[str, str]:
    return {
        one.subject: one.detail
        for one in check(release, types_for((), kernel=release))
        if one.assumed == assumed and one.state is Standing.UNMET
    }


@pytest.mark.real
def test_static_keys_and_parts_of_functions_are_found() -> None:
    image = KernelImage(str(debian.require().vmlinuz))
    found = check(image, types_for((), kernel=image))
    assert Assumption("kfree", ARGUMENTS, Standing.HOLDS) in found
    assert Assumption("raise_softirq_irqoff", ENTRY, Standing.HOLDS) in found
    detail = "pidfd_get_task() calls put_pid.part.0()"
    assert Assumption("put_pid", CALLS, Standing.UNMET, detail) in found
    detail = "the image has no such function"
    assert Assumption("kmalloc_order", ARGUMENTS, Standing.NOT_NEEDED, detail) in found


@pytest.mark.real
@pytest.mark.parametrize("name", debian.others("real"))
def test_no_argument_is_read_that_another_kernel_does_not_pass(name: str) -> None:
    assert unmet(KernelImage(str(debian.require_other(name).vmlinuz)), ARGUMENTS) == {}


@pytest.mark.real
def test_all_functions_fit_an_image_that_is_known(booted: Kernel) -> None:
    boot = booted.core.boot
    assert boot is not None
    assert boot.unfit == ()
    assert boot.damage == ""
