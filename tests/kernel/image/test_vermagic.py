"""The image's module loader judges modules of other kernels, and such as lie, as the real one does."""

from __future__ import annotations

from errno import ENOEXEC

import pytest
from tests.elfwriter import Section, Symbol, elf, modinfo
from tests.kernel.image.conftest import in_a_copy
from tests.kernel.module.made import FIELDS, this_module
from tests.real import debian
from tests.vermagic import ATTEMPTS, FORCED, Attempt

from ukmod.errors import LoadError
from ukmod.kernel.api import Kernel
from ukmod.kmod.elf import SHF_ALLOC, SHF_WRITE, SHT_NOBITS
from ukmod.kmod.host import INIT_IGNORE_MODVERSIONS, INIT_IGNORE_VERMAGIC

pytestmark = pytest.mark.real

FORCE = INIT_IGNORE_MODVERSIONS | INIT_IGNORE_VERMAGIC


def loaded(k: Kernel, data: bytes, flags: int = 0) -> tuple[int, list[str]]:
    """The errno, and what is logged, of a copy of this machine in which a module is loaded."""

    def load() -> tuple[int, list[str]]:
        errno = 0
        try:
            k.insmod(data, flags=flags)
        except LoadError as error:
            errno = error.errno
        return errno, [f"<{record.level}>{record.text}" for record in k.core.log.records]

    errno, log = in_a_copy(k, load)
    return errno, log


@pytest.mark.parametrize("attempt", ATTEMPTS, ids=lambda attempt: attempt.name)
def test_an_attempt_to_load_ends_as_on_the_real_kernel(booted: Kernel, attempt: Attempt) -> None:
    assert loaded(booted, attempt.module(), FORCE if attempt.force else 0) == (attempt.errno, [*attempt.log])


def test_a_kernel_that_looks_at_the_size() -> None:
    """Since v6.3 that is what it does first, and nothing forces it."""
    text = "section size must match the kernel's built struct module size at run time"
    log = [f"<3>module crc7: .gnu.linkonce.this_module {text}"]
    with Kernel(image=debian.require_other("backport").vmlinuz) as k:
        k.boot()
        for flags in (0, FORCE):
            assert loaded(k, Attempt("own", 0, ()).module(), flags) == (ENOEXEC, log)


def test_a_kernel_that_looks_at_the_sections() -> None:
    """Since v6.3 elf_validity_check() counts them. Older kernels take the first one that has memory."""
    struct, info = ".gnu.linkonce.this_module", Section(".modinfo", modinfo(*FIELDS, "name=m"))
    empty = Section(struct, type=SHT_NOBITS, flags=SHF_ALLOC | SHF_WRITE, size=64)
    attempts = {
        "Only one .modinfo section must exist.": [info, info, this_module()],
        f"module m: Only one {struct} section must exist.": [info, this_module(), this_module()],
        f"module m: {struct} section must have a size set": [info, empty],
        f"module m: {struct} must occupy memory during process execution": [info, this_module(flags=0)],
    }
    with Kernel(image=debian.require_other("backport").vmlinuz) as k:
        k.boot()
        for text, sections in attempts.items():
            assert loaded(k, elf(sections, [Symbol("s", 0xFFF1)])) == (ENOEXEC, [f"<3>{text}"])


def test_one_that_does_not_is_not_believed(booted: Kernel) -> None:
    """Forced, 6.1 takes a module of 6.12 and reads its struct module as if it were its own."""
    errno, log = loaded(booted, Attempt("of_backport", 0, (), of="backport").module(), FORCE)
    assert errno == ENOEXEC
    assert log[0] == "<4>crc7: module_layout: kernel tainted."
    assert "section size must match" in log[-1]


def test_modprobe_by_force(booted: Kernel) -> None:
    def load() -> list[str]:
        assert booted.modprobe("-f", "crc7").status == 0
        return [f"<{record.level}>{record.text}" for record in booted.core.log.records]

    assert in_a_copy(booted, load) == [*FORCED]
