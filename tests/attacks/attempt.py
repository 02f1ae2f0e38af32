"""Runs attacks of compiled modules, each in a fork of a booted machine: a program that tests ask.

``python -m tests.attacks.attempt HOST [VMLINUZ]`` reads lines of JSON, ``[module, attack, value]``, and
answers each with a line: how the attack ended, and what is wrong with that, "" if nothing is. HOST is a
directory of tests.userland.attacks.make_host(). What an attack did to the machine is gone with its fork.
"""

from __future__ import annotations

import json
import os
import re
import resource
import sys
import time
import traceback
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Final

from tests.answering import Answering
from tests.golden import RELEASE, REPOSITORY, modules
from tests.kernel.conftest import layouts
from tests.userland.attacks import CANARY, Watch, foreign

from ukmod.errors import KernelPanic, LimitError, LoadError, PatienceError, Reboot
from ukmod.kernel.api import Kernel
from ukmod.kmod.directory import DirectoryFiles
from ukmod.kmod.elf import Elf
from ukmod.kmod.tree import Tree
from ukmod.survey.survey import how_it_ended

DIRECTORY: Final = REPOSITORY / "tests" / "data" / "attacks" / RELEASE
"""The compiled modules of examples/attacks."""
NEEDS_IMAGE: Final = ("image", "late")
"""The modules that need functions of a kernel's image."""
PATIENCE: Final = 0.25
"""Seconds of CPU time for the machine. What takes longer ends with a report of where it was."""
PATIENCE_OF_AN_IMAGE: Final = 1.0
CPU_SECONDS: Final = 20
"""What the process may take all in all, on a busy machine: then it hangs."""
HOST_BYTES: Final = 6 << 30
"""Address space that an attack may take."""

Question = tuple[str, str, str]
"""A module, one of its attacks, and the value that this is given: @NAME is an address in the image."""
Answer = tuple[str, str]
"""How an attack ended: a word of ``ended``, and what is wrong with that."""


@cache
def attacks() -> dict[tuple[str, str], str]:
    """How each attack is to end, by module and name: the modules' parameters, and their descriptions."""
    found = {}
    for path in sorted(DIRECTORY.glob("*.ko")):
        for key, text in Elf(path.read_bytes(), str(path)).modinfo():
            if key == "parm":
                name, _, ends = text.partition(":")
                found[path.stem, name] = ends
    return found


def boot(host: str, image: str | None) -> Kernel:
    """Boot a machine on the host's tree, with all modules of attacks loaded."""
    root = f"{host}/image"
    tree = Tree(f"{root}/lib/modules/{RELEASE}", DirectoryFiles(), config_paths=(f"{root}/etc/modprobe.d",))
    k = Kernel(tree=tree, types=layouts() if image is None else None, image=image)
    for name in ("exporter", "params"):  # for what Python imports when it is first needed
        k.insmod(modules()[name])
        k.rmmod(name)
    k.call("strlen", "")  # for the index of all types
    k.patience = PATIENCE if image is None else PATIENCE_OF_AN_IMAGE
    for path in sorted(DIRECTORY.glob("*.ko")):
        if image is not None or path.stem not in NEEDS_IMAGE:
            k.insmod(path)
    return k


def ended(k: Kernel, module: str, attack: str, value: str) -> str:
    """Run the attack, let a second pass, unload the module and run a task more; say how it ended."""
    core = k.core
    value = re.sub("@([a-z_]+)", lambda name: hex(core.image.get(name[1]) or 0) if core.image else "0", value)
    try:
        with suppress(LoadError):
            k.call(k.address(f"{module}:{attack}"), value, None)
        k.run(1)
        with suppress(LoadError):
            k.rmmod(module)
        with suppress(LimitError):  # the module has taken all memory, or all tasks
            core.run_task("next", lambda: 0)
    except KernelPanic:
        return "panic"
    except PatienceError:
        return "lockup"
    except Reboot:
        return "reboot"
    if any(warning.message.startswith("soft lockup") for warning in core.warnings):
        return "lockup"
    return "oops" if core.oopses else "returns"


def answer(k: Kernel, watch: Watch, host: str, question: Question) -> Answer:
    """Run an attack, and judge what it came to."""
    watch.is_on = True
    how = ended(k, *question)
    said = [k.dmesg(raw=True), *(oops.text() for oops in k.oopses)]
    said += [*map(str, k.warnings), *map(str, k.requests)]
    watch.is_on = False
    reached = foreign(watch.events, f"{host}/image/")
    if reached:
        return how, f"it reached {reached}"
    if any(CANARY in text for text in said):
        return how, "a file of the host was brought to light"
    if (Path(host) / "made").exists():
        return how, "it made a file of the host"
    return how, ""


def in_fork(k: Kernel, watch: Watch, host: str, question: Question) -> Answer:
    """Answer a question in a copy of the machine, which ends with it."""
    read, write = os.pipe()
    if pid := os.fork():
        os.close(write)
        with os.fdopen(read) as pipe:
            text = pipe.read()
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        return json.loads(text) if text else ("crash", how_it_ended(status))
    k.core.cpu.after_fork()
    limit = int(time.process_time()) + CPU_SECONDS
    resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
    resource.setrlimit(resource.RLIMIT_AS, (HOST_BYTES, HOST_BYTES))
    try:
        found = answer(k, watch, host, question)
    except BaseException:  # noqa: BLE001 - whatever it is, it is the finding
        found = "exception", traceback.format_exc()
    with os.fdopen(write, "w") as pipe:
        json.dump(found, pipe)
    os._exit(0)


def main(host: str, image: str | None = None) -> None:
    """Answer questions until there are no more."""
    watch = Watch()
    with boot(host, image) as k:
        for line in sys.stdin:
            print(json.dumps(in_fork(k, watch, host, tuple(json.loads(line)))), flush=True)


def attacker(host: Path, image: Path | None = None) -> Answering:
    """This program under way, on ``host`` and with ``image``: it is asked a Question, and gives an Answer."""
    return Answering(__name__, *[str(path) for path in (host, image) if path is not None])


if __name__ == "__main__":
    main(*sys.argv[1:])
