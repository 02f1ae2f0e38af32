"""A module's attempts to reach the host, in a process that watches what it opens itself: see test_attacks.py.

``python -m tests.userland.attacks HOST`` prints, as JSON, each event of the process that concerns the host
while the attacks run, and all that the attacks have brought to light. HOST is the directory of the fixture.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from tests.golden import RELEASE, REPOSITORY, modules
from tests.kernel.conftest import Guest, layouts
from tests.kernel.emulator import depmod

from ukmod import Kernel
from ukmod.errors import UkmodError
from ukmod.kernel.umh import UMH_WAIT_EXEC, UMH_WAIT_PROC
from ukmod.kmod.directory import DirectoryFiles
from ukmod.kmod.tree import Tree

Event = tuple[str, str, bool]
"""An audit event, the path or what else it is about, and whether that is opened for writing."""
HOST_EVENTS = (
    "open",
    "os.",
    "socket.",
    "subprocess.",
    "shutil.",
    "tempfile.",
    "glob.",
    "ctypes.dlopen",
    "mmap.",
)
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CANARY = "canary-77aa"
"""A text that is in files of the host outside of the tree."""
OWN = tuple(
    {str(REPOSITORY), *(str(Path(path).resolve()) for path in (sys.prefix, sys.base_prefix)), sys.prefix}
)
"""Where Python's own files are."""
WRITTEN_PAGES = "/proc/self/pagemap"
"""It says which pages of the guest's RAM, which is this process's memory, have been written to."""


def make_host(path: Path) -> None:
    """Make a host below ``path``: files outside of the tree in image/, and links in it that lead to them."""
    (path / "secret.conf").write_text(
        f"alias {CANARY} exporter\noptions exporter init_ms={CANARY}\n{CANARY}\n"
    )
    (path / "script.sh").write_text(f"#!/bin/sh\necho {CANARY} > {path}/made\n")
    (path / "script.sh").chmod(0o755)
    (path / "outside.ko").write_bytes(modules()["ok_dep"].read_bytes())
    place = path / "image" / "lib" / "modules" / RELEASE
    place.mkdir(parents=True)
    for name in ("exporter", "uses_exporter"):
        (place / f"{name}.ko").write_bytes(modules()[name].read_bytes())
    depmod(path / "image")
    (place / "linked_out.ko").symlink_to(path / "secret.conf")
    (place / "modules.softdep").unlink(missing_ok=True)
    (place / "modules.softdep").symlink_to(path / "secret.conf")
    with (place / "modules.dep").open("a") as file:
        file.write("linked_out.ko:\n")
    configuration = path / "image" / "etc" / "modprobe.d"
    configuration.mkdir(parents=True)
    (configuration / "out.conf").symlink_to(path / "secret.conf")
    (configuration / "up.conf").symlink_to("../../../secret.conf")
    (configuration / "all").symlink_to("/")
    (configuration / "dot.conf").symlink_to(".")


def foreign(events: list[Event], image: str) -> list[tuple[str, str]]:
    """The events that are no reading of a file below ``image``, nor of Python's own files."""
    return [
        (event, path)
        for event, path, is_written in events
        if is_written
        or event not in ("open", "os.listdir", "os.scandir")
        or not path.startswith((image, WRITTEN_PAGES, *OWN))
    ]


class Watch:
    """The events of this process that concern the host, while ``is_on``.

    Python writes no bytecode from now on: in a new checkout, each first import would be such an event.
    """

    def __init__(self) -> None:
        sys.dont_write_bytecode = True
        self.events: list[Event] = []
        self.is_on = False
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[object, ...]) -> None:
        if self.is_on and event.startswith(HOST_EVENTS):
            flags = arguments[2] if event == "open" else 0
            subject = str(arguments[0]) if arguments else ""
            self.events.append((event, subject, isinstance(flags, int) and bool(flags & WRITING)))


def helpers(host: str) -> list[list[str]]:
    """Return the argument vectors of the programs that a module starts: the first is the path."""
    secret, script, out = f"{host}/secret.conf", f"{host}/script.sh", f"{host}/made"
    shells = [
        f"cat {secret}",
        f"cat < {secret}",
        f". {secret}",
        f"echo taken > {out}",
        f"echo taken >> {out}",
        f"true 2> {out}",
        f"true > /dev/null{out}",
        f"true > /dev/null/../..{out}",
        f"modprobe exporter < {secret} > {out}",
        f"echo $(cat {secret})",
        f"echo `cat {secret}`",
        f"cd {host}; modprobe -C secret.conf exporter",
        f"exec {script}",
        f"sh {script}",
        f"sh -c 'sh -c \"cat {secret}\"'",
        f"modprobe -C {secret} -c",
        f"PATH={host} script.sh",
        f"MODPROBE_OPTIONS='-C {secret}' modprobe -c",
        f"/sbin/modprobe -d {host} ok_dep || /sbin/modprobe {host}/outside.ko && {script}",
        "modprobe $HOST_FILE",
        "${HOST_FILE}",
        "eval cat $HOST_FILE",
        ": & cat $HOST_FILE | sh",
    ]
    return [
        [script],
        ["/bin/cat", secret],
        ["/usr/bin/env", "sh", script],
        [sys.executable, "-c", f"open({out!r}, 'w')"],
        ["/proc/self/exe", secret],
        ["/proc/1/root/bin/sh", "-c", "id"],
        [f"/sbin/../{script}"],
        [f"/sbin/modprobe/../../../{script}"],
        ["modprobe", "-C", secret],
        ["/sbin/modprobe", "-C", secret, "-c"],
        ["/sbin/modprobe", "-d", host, "-S", RELEASE, "ok_dep"],
        ["/sbin/modprobe", "--show-modversions", f"{host}/outside.ko"],
        ["/sbin/modprobe", f"{host}/outside.ko"],
        ["/sbin/modprobe", "-r", f"{host}/outside.ko"],
        ["/bin/sh", script],
        *[["/bin/sh", "-c", text] for text in shells],
    ]


def names(host: str) -> list[str]:
    """Return what a module requests."""
    return [
        f"{host}/outside.ko",
        f"./../../../../..{host}/outside.ko",
        f"-C {host}/secret.conf exporter",
        f"exporter -C {host}/secret.conf",
        f"exporter --config={host}/secret.conf init_ms=1",
        "linked_out",
        "%s%s%n",
        "*",
        "a" * 5000,
    ]


def files(host: str) -> list[tuple[str, str]]:
    """Return files of /proc, /sys and /dev that a program writes, and the text."""
    script = f"{host}/script.sh"
    return [
        ("/proc/sys/kernel/core_pattern", f"|{script} %p"),
        ("/proc/sys/kernel/hotplug", script),
        ("/proc/sys/kernel/poweroff_cmd", script),
        ("/proc/sys/kernel/modprobe", script),
        ("/dev/kmsg", f"<0>{host}/secret.conf"),
        ("/sys/kernel/uevent_helper", script),
        ("/sys/module/firmware_class/parameters/path", host),
        (f"/proc/../..{host}/made", "taken"),
        (f"/proc/self/root{host}/made", "taken"),
        (f"{host}/made", "taken"),
    ]


def attack(k: Kernel, host: str) -> None:
    """Do all that a module can do to reach the host."""
    guest = Guest(k.core)
    environment = [b"HOME=/", b"PATH=/sbin:/bin:" + host.encode(), f"HOST_FILE={host}/secret.conf".encode()]
    environment += [
        f"MODPROBE_OPTIONS=-v -C {host}/secret.conf".encode(),
        f"LD_PRELOAD={host}/outside.ko".encode(),
    ]

    def attempt(call: Callable[[], object]) -> None:
        with suppress(UkmodError, OSError):
            call()

    def pointers(texts: list[bytes]) -> int:
        return guest.words(*map(guest.put, texts), 0)

    for argv in helpers(host):
        for wait in (UMH_WAIT_EXEC, UMH_WAIT_PROC):
            vector = pointers([word.encode() for word in argv])
            guest.call("call_usermodehelper", argv[0].encode(), vector, pointers(environment), wait)
        k.settle()
    for name in names(host):
        guest.call("__request_module", 1, b"%s", guest.put(name.encode()))
    for path, text in files(host):
        attempt(partial(k.write, path, text))
        attempt(partial(k.read, path))
    guest.call("__request_module", 1, b"by the program that the sysctl names")
    for name in ("oops", "umh_call"):
        attempt(partial(k.insmod, modules()[name], dependencies=False))


def main(host: str) -> None:
    """Attack, and print what happened."""
    root = f"{host}/image"
    tree = Tree(f"{root}/lib/modules/{RELEASE}", DirectoryFiles(), config_paths=(f"{root}/etc/modprobe.d",))
    watch = Watch()
    brought: list[str] = []
    with Kernel(tree=tree, types=layouts()) as k:
        k.modprobe("exporter")
        k.rmmod("exporter")
        watch.is_on = True
        attack(k, host)
        k.settle()
        watch.is_on = False
        loaded = sorted(k.modules)
        brought += [k.dmesg(raw=True), *(str(request) for request in k.requests), *map(str, k.oopses)]
    print(json.dumps({"events": watch.events, "loaded": loaded, "brought": brought}))


if __name__ == "__main__":
    main(sys.argv[1])
