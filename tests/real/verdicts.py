"""Remakes what a real kernel makes of each Debian module: ``python -m tests.real.verdicts [NAME...]``.

Of another kernel of tools/kernels it is a sample: ``--kernel testing --sample 300``, some minutes.

One machine tries many modules, one after the other: each is loaded with what it needs, a second passes, and
all is taken out again. As soon as anything of it is left (a module that stays, a warning that is given once
only), the next one finds a fresh copy of the machine, and so it does where the machine died or hung. What is
found is stored at once, so that a run that was broken off goes on where it was.
"""

from __future__ import annotations

import argparse
import random
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from errno import errorcode
from pathlib import Path

from tests import golden, verdicts
from tests.real import debian, qemu
from tests.verdicts import Verdict

from ukmod.kernel.trees import open_tree
from ukmod.kmod.compression import decompress

PATIENCE = 240.0
"""Wall seconds that a module may take; QEMU without KVM is some ten times slower than the machine."""
MEMORY = 2560
"""MiB: the tree lies in the guest's root."""
_HOME = golden.REPOSITORY / ".cache" / "verdicts"
_ESCAPED = re.compile(rb"\\x([0-9a-f]{2})")
_WARNED, _DIED = 1 << 9, 1 << 7
"""Documentation/admin-guide/tainted-kernels.rst."""


def prepare(kernel: debian.Debian) -> qemu.Guest:
    """The guest with the whole tree, as a module may request any other one, and the program that tries it."""
    _HOME.mkdir(parents=True, exist_ok=True)
    program = _HOME / "verdict"
    source = Path(__file__).with_name("verdict.c")
    subprocess.run(["gcc", "-O2", "-static", "-o", program, source], check=True)
    return qemu.boot(kernel, [_unpacked_tree(kernel)], _HOME / "guests", programs=[program], memory=MEMORY)


def _unpacked_tree(kernel: debian.Debian) -> Path:
    """A kernel's tree, its files unpacked: not every kernel unpacks them itself."""
    tree = _HOME / "trees" / kernel.release
    shutil.rmtree(tree.parent, ignore_errors=True)
    for file in kernel.modules.rglob("*.ko*"):
        target = tree / _unpacked(str(file.relative_to(kernel.modules)))
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(decompress(file.read_bytes()))
    for index in ("modules.builtin", "modules.order"):
        if (kernel.modules / index).is_file():
            shutil.copy(kernel.modules / index, tree)
    return tree


def _unpacked(file: str) -> str:
    return file.partition(".ko")[0] + ".ko"


class Trials:
    """One machine after the other, each used for as long as it is as fresh as it was."""

    def __init__(self, guest: qemu.Guest, release: str) -> None:
        self._guest = guest
        self._release = release
        self._stack = ExitStack()
        self._machine: qemu.Machine | None = None

    def attempt(self, name: str, paths: Iterable[str]) -> Verdict:
        """Have the machine try a module; ``paths`` end with the module's own, relative to the tree."""
        machine = self._machine or self._fresh()
        machine.send(" ".join(f"/lib/modules/{self._release}/{path}" for path in paths) + "\n")
        text, answered = machine.receive("@answered\n", PATIENCE)
        if not answered:
            verdict = _dead(name, machine)
        else:
            *log, answer = text.rstrip("\n").split("\n")
            verdict = _verdict(name, answer, tuple(_text(line) for line in log))
        if not answered or _is_used(answer):
            self.close()
        return verdict

    def _fresh(self) -> qemu.Machine:
        self._machine = self._stack.enter_context(self._guest.resumed())
        self._machine.start("exec /bin/verdict")
        return self._machine

    def close(self) -> None:
        """End the machine, if there is one."""
        self._stack.close()
        self._machine = None


def _text(line: str) -> str:
    """A line of the log as it was logged: /dev/kmsg escapes what is not printable."""
    data = _ESCAPED.sub(lambda found: bytes([int(found[1], 16)]), line.removeprefix("|").encode())
    return data.decode(errors="replace").replace("\n", " ")


def _dead(name: str, machine: qemu.Machine) -> Verdict:
    return Verdict(name, "hangs" if machine.process.poll() is None else "dies")


def _is_used(answer: str) -> bool:
    _, _, _, taint, *left = answer.split()
    return bool(left) or bool(int(taint) & (_WARNED | _DIED))


def _verdict(name: str, answer: str, log: tuple[str, ...]) -> Verdict:
    last, load, unload, taint, *_ = answer.split()
    result = {"0": "loads", "-1": "killed"}.get(load) or errorcode.get(int(load), load)
    if result != "loads" and last != name:
        result = f"{last}:{result}"
    removal = {"0": "ok", "-1": "killed"}.get(unload) or errorcode.get(int(unload), unload)
    notes = [word for word, flag in (("oops", _DIED), ("warns", _WARNED)) if int(taint) & flag]
    return Verdict(name, result, removal if result == "loads" else "", " ".join(notes), log)


def run(guest: qemu.Guest, release: str, todo: dict[str, list[str]], jobs: int) -> Iterator[Verdict]:
    """Try all these modules of a kernel (name to paths); the verdicts as they come."""
    here = threading.local()
    everyone: list[Trials] = []

    def attempt(name: str) -> Verdict:
        if not hasattr(here, "trials"):
            here.trials = Trials(guest, release)
            everyone.append(here.trials)
        trials: Trials = here.trials
        return trials.attempt(name, todo[name])

    with ThreadPoolExecutor(jobs) as pool:
        yield from pool.map(attempt, todo)
    for trials in everyone:
        trials.close()


def plan(kernel: debian.Debian) -> dict[str, list[str]]:
    """Each module's name, as the kernel spells it, and the files to be inserted for it, in order."""
    tree = open_tree(kernel.modules)
    steps = {}
    for name in sorted(tree.module_names()):
        target, _, needed = (tree.dependency_line(name) or "").partition(":")
        steps[name.replace("-", "_")] = [*map(_unpacked, reversed(needed.split())), _unpacked(target)]
    return steps


def main(argv: list[str]) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.real.verdicts", description=__doc__)
    parser.add_argument("names", nargs="*", help="try these again; without any, what is not known yet")
    parser.add_argument("--kernel", help="another kernel of tools/kernels")
    parser.add_argument("--sample", type=int, help="so many of its modules, always the same ones")
    parser.add_argument("--jobs", type=int, default=1, help="machines at a time")
    options = parser.parse_args(argv)
    kernel = debian.require_other(options.kernel) if options.kernel else debian.found()
    steps = plan(kernel)
    if options.sample is not None:
        steps = {name: steps[name] for name in sorted(random.Random(1).sample(sorted(steps), options.sample))}
    known = verdicts.load(kernel.release) if verdicts.path(kernel.release).exists() else {}
    todo = {name: steps[name] for name in options.names or steps if options.names or name not in known}
    guest = prepare(kernel)
    for count, verdict in enumerate(run(guest, kernel.release, todo, options.jobs), 1):
        known[verdict.name] = verdict
        verdicts.store(known.values(), kernel.release)
        sys.stdout.write(f"{count}/{len(todo)} {verdict.row()}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
