"""Each module of Debian's tree in the emulated kernel with Debian's image, and in the real kernel."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest
from tests import verdicts
from tests.real import debian
from tests.verdicts import Verdict

from ukmod.kernel.api import open_tree
from ukmod.kernel.survey import survey
from ukmod.kernel.verdict import Settings
from ukmod.kernel.verdict import Verdict as Found

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(900)]

DIFFERENT = {
    "floppy": "the PC that QEMU emulates has a floppy controller, ours has none",
    "jitterentropy_rng": "QEMU's clock counts instructions, in which the module finds no jitter",
    "test_user_copy": "it maps memory into its process, which has no address space here",
}
"""Modules that need not do the same, and why."""


def in_words_of_the_table(found: Found) -> Verdict:
    """What the survey says of a module, as the stored table says it."""
    load = {"loads": "loads", "refuses": found.cause, "dependency": found.cause.replace(": ", ":")}
    removal = {"": "", "ok": "ok"}
    if found.unload.startswith("in use"):
        removal[found.unload] = "EAGAIN"
    elif "no exit function" in found.unload:
        removal[found.unload] = "EBUSY"
    return Verdict(
        found.name.replace("-", "_"),
        load.get(found.kind, f"{found.kind}: {found.cause}"),
        removal.get(found.unload, found.unload) if found.kind == "loads" else "",
    )


@pytest.fixture(scope="module")
def found() -> dict[str, Verdict]:
    """The emulated kernel's verdicts."""
    kernel = debian.require()
    settings = Settings(str(kernel.modules), str(kernel.vmlinuz))
    names = sorted(open_tree(kernel.modules).module_names())
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as executor:
        everything = [in_words_of_the_table(verdict) for verdict in survey(executor, settings, names)]
    return {verdict.name: verdict for verdict in everything}


def test_all_of_them_were_tried(found: dict[str, Verdict]) -> None:
    assert found.keys() == verdicts.load().keys()


def test_each_loads_or_refuses_as_on_the_real_kernel(found: dict[str, Verdict]) -> None:
    real = verdicts.load()
    different = {
        name: (real[name].load, verdict.load)
        for name, verdict in found.items()
        if verdict.load != real[name].load and name not in DIFFERENT
    }
    assert not different


def test_each_can_be_unloaded_where_the_real_kernel_can(found: dict[str, Verdict]) -> None:
    real = verdicts.load()
    different = {
        name: (real[name].unload, verdict.unload)
        for name, verdict in found.items()
        if verdict.load == "loads" == real[name].load and verdict.unload != real[name].unload
    }
    assert not different


def test_what_is_said_to_differ_does(found: dict[str, Verdict]) -> None:
    real = verdicts.load()
    assert [name for name in DIFFERENT if found[name].load == real[name].load] == []
