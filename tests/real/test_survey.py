"""Each module of Debian's tree in the emulated kernel with Debian's image, and in the real kernel."""

from __future__ import annotations

import os
import random
import re
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest
from tests import verdicts
from tests.real import debian
from tests.verdicts import Verdict

from ukmod.kernel.trees import open_tree
from ukmod.survey.survey import survey
from ukmod.survey.verdict import ModuleVerdict, Settings

pytestmark = [
    pytest.mark.real,
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.xdist_group("survey"),  # one process makes the survey for all of these tests
]

DIFFERENT = {
    "jitterentropy_rng": "QEMU's clock counts instructions, which has no jitter; without -icount it loads",
}
"""Modules that need not do the same, and why."""
OTHER_WORDS = {
    "acerhdf": "it names the BIOS",
    "ata_piix": "the PC that QEMU emulates has an IDE controller",
    "button": "the PC that QEMU emulates has a power button",
    "i2c_piix4": "the PC that QEMU emulates has an SMBus controller",
    "nettel": "it warns, with a call trace",
    "nouveau": "it needs button",
    "pata_legacy": "the PC that QEMU emulates has an IDE controller, which ata_piix drives",
    "powernow_k8": "the engine's qemu64 is of an older family than QEMU's",
    "psmouse": "the PC that QEMU emulates has a mouse",
    "serial_ir": "COM1 is QEMU's console",
    "speakup_ltlk": "it prints bytes that are no text",
    "test_bpf": "it logs more than a log buffer of the usual size holds; QEMU's has a larger one",
}
"""Modules that need not log the same, and why."""
_PROC_ROOT = (
    "snd_info_card_disconnect() forgets what snd_info_card_free() was to free; snd keeps it till it goes"
)
LEAK = {
    "dccp": "dccp_fini() destroys one of the two caches that dccp_init() creates",
    "null_blk": "a software queue that two hardware queues have is added to sysfs twice and deleted once",
    "r8192u_usb": "nobody puts the dentry that rtl8192_debugfs_exit() looks up",
    "rc_loopback": "lirc_unregister() deletes its device and never puts it, nor so the one that it holds",
    "snd_aloop": _PROC_ROOT,
    "snd_dummy": _PROC_ROOT,
    "snd_mtpav": _PROC_ROOT,
    "snd_pcsp": _PROC_ROOT,
    "snd_serial_u16550": _PROC_ROOT,
    "snd_virmidi": _PROC_ROOT,
}
"""Modules that lose memory with each load and unload, and why. QEMU's /proc/slabinfo grows with each."""
NUMBER = re.compile(r"0x[0-9a-f]+|[0-9a-f]{8,}|\d+")
"""Speeds, addresses and random numbers; and numbers of devices, of which other modules had some before."""
LEFT_OUT = re.compile(
    r"firmware_class: See "  # said once, and modules before this one have asked for firmware too
    r"|jitterentropy: Init|DRBG: Continuing without"  # QEMU's clock counts instructions
    r"|sse +:|generic_sse|xor: using function"  # a race, won by the faster
    r"|tsc: Refined TSC|clocksource: (?:tsc: mask|Switched to)"  # no module's
)


def gist(log: Iterable[str]) -> list[str]:
    """What is to be the same in two logs."""
    return [NUMBER.sub("#", line.replace("\n", " ")) for line in log if not LEFT_OUT.search(line)]


def in_words_of_the_table(found: ModuleVerdict) -> Verdict:
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
        log=found.log,
    )


@pytest.fixture(scope="module")
def names() -> list[str]:
    """All modules; or as many as UKMOD_SURVEY says, always the same, and all that are known to differ."""
    every = sorted(open_tree(debian.require().modules).module_names())
    if (count := os.environ.get("UKMOD_SURVEY")) is None:
        return every
    return sorted({*DIFFERENT, *OTHER_WORDS, *LEAK, *random.Random(1).sample(every, int(count))})


@pytest.fixture(scope="module")
def everything(names: list[str]) -> list[ModuleVerdict]:
    """What the survey says of these modules."""
    kernel = debian.require()
    settings = Settings(str(kernel.modules), str(kernel.vmlinuz))
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as executor:
        return list(survey(executor, settings, names))


@pytest.fixture(scope="module")
def found(everything: list[ModuleVerdict]) -> dict[str, Verdict]:
    """The emulated kernel's verdicts, in the words of the table."""
    return {verdict.name: verdict for verdict in map(in_words_of_the_table, everything)}


def test_all_of_them_were_tried(found: dict[str, Verdict], names: list[str]) -> None:
    assert found.keys() == set(names) <= verdicts.load().keys()


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


def test_each_logs_what_it_logs_on_the_real_kernel(found: dict[str, Verdict]) -> None:
    real = verdicts.load()
    different = {
        name: (gist(real[name].log), gist(verdict.log))
        for name, verdict in found.items()
        if gist(verdict.log) != gist(real[name].log) and name not in OTHER_WORDS
    }
    assert not different


def test_the_modules_that_leak_are_the_known_ones(everything: list[ModuleVerdict]) -> None:
    assert {one.name: one.leaks for one in everything if one.leaks}.keys() == LEAK.keys()


def test_what_is_said_to_differ_does(found: dict[str, Verdict]) -> None:
    real = verdicts.load()
    assert [name for name in DIFFERENT if found[name].load == real[name].load] == []
    assert [name for name in OTHER_WORDS if gist(found[name].log) == gist(real[name].log)] == []
