"""A real kernel under QEMU, booted once and then resumed from a snapshot, a fresh copy for every script.

The processor is emulated (TCG), so neither KVM nor root is needed. With ``-icount ...,sleep=off`` the
guest's clock counts its instructions and jumps to the next timer when it is idle: a guest that sleeps for a
minute takes no time, and the same script logs the same lines at the same times. There are two serial ports:
ttyS0 is the console, kept for a machine that dies; ttyS1 carries the script in and its marked output out, so
that nothing interleaves with it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shlex
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.real import initramfs
from tests.real.debian import Debian

COMMAND_LINE = (
    "console=ttyS0 quiet panic=-1 printk.devkmsg=on printk.time=1 log_buf_len=1M"
    " tsc=reliable kfence.sample_interval=0 randomize_kstack_offset=off"
)
_OPTIONS = (
    *("-machine", "pc", "-cpu", "qemu64,+rdrand,+rdseed", "-smp", "1"),
    *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-monitor", "none"),
    *("-icount", "shift=0,sleep=off", "-rtc", "base=2001-01-01,clock=vm", "-seed", "1"),
)
MEMORY = 256
"""Of a guest, in MiB, where nothing else is said."""
BOOT_SECONDS = 300
SCRIPT_SECONDS = 400
"""Wall time, on a machine that has other work to do; far more than either takes."""


class GuestError(Exception):
    """The guest did not come up, or QEMU would not run."""


@dataclass(frozen=True, slots=True)
class Output:
    """What a script wrote to ttyS1, and the console; ``finished`` is False where the machine died or hung."""

    text: str
    console: str
    finished: bool


@dataclass(frozen=True, slots=True)
class Guest:
    """A booted machine at rest: the files that every run resumes from."""

    kernel: Path
    archive: Path
    snapshot: Path
    memory: int = MEMORY

    @contextlib.contextmanager
    def resumed(self, seconds: float = SCRIPT_SECONDS) -> Iterator[Machine]:
        """A fresh copy of the machine, running; its init awaits a script."""
        resume = ("-incoming", f"exec:cat {shlex.quote(str(self.snapshot))}")
        with _machine(self.kernel, self.archive, self.memory, *resume) as machine:
            machine.wait_until_resumed(seconds)
            machine.command("cont")
            yield machine

    def run(self, script: str, *, seconds: float = SCRIPT_SECONDS) -> Output:
        """Resume a fresh copy, have its init source a shell script, and collect what that writes.

        ``seconds`` is wall time; a machine that has not finished by then is ended and reported as it is.
        """
        with self.resumed(seconds) as machine:
            machine.start(script)
            text, finished = machine.receive("@done\n", seconds)
            return Output(text, machine.console(), finished)

    def run_cold(self, script: str, *, seconds: float = BOOT_SECONDS) -> tuple[Output, float]:
        """The same on a machine that boots first, and the wall seconds from its start until init is ready."""
        start = time.monotonic()
        with _machine(self.kernel, self.archive, self.memory) as machine:
            machine.receive("@ready\n", seconds)
            ready = time.monotonic() - start
            machine.start(script)
            text, finished = machine.receive("@done\n", seconds)
            return Output(text, machine.console(), finished), ready


def boot(
    debian: Debian,
    modules: Sequence[Path],
    cache: Path,
    *,
    programs: Sequence[Path] = (),
    memory: int = MEMORY,
) -> Guest:
    """A guest that has these modules in its tree; booted only where the cache does not hold its like already.

    A directory among ``modules`` is copied as it is, so that a whole tree keeps its layout and its order.

    Raises GuestError where the kernel does not reach its init in BOOT_SECONDS.
    """
    home = cache / _digest(debian, modules, programs, memory)
    guest = Guest(debian.vmlinuz, home / "root.cpio", home / "snapshot", memory)
    cache.mkdir(parents=True, exist_ok=True)
    with _locked(cache / "lock"):
        if not guest.snapshot.is_file():
            _forget_all(cache)
            _prepare(debian, modules, programs, guest)
    return guest


def console_of(kernel: Path, archive: Path, seconds: float = BOOT_SECONDS) -> str:
    """What a machine writes to its console until it ends, with the init that the archive has.

    Raises GuestError where it has not ended in ``seconds`` of wall time.
    """
    with _machine(kernel, archive, MEMORY) as machine:
        try:
            machine.process.wait(seconds)
        except subprocess.TimeoutExpired as error:
            raise GuestError(f"it has not ended in {seconds} s:\n{machine.console()}") from error
        return machine.console()


def _prepare(debian: Debian, modules: Sequence[Path], programs: Sequence[Path], guest: Guest) -> None:
    home = guest.snapshot.parent
    with tempfile.TemporaryDirectory(dir=home.parent) as work:
        archive, snapshot = Path(work, "root.cpio"), Path(work, "snapshot")
        initramfs.build(archive, release=debian.release, modules=modules, programs=programs)
        with _machine(debian.vmlinuz, archive, guest.memory) as machine:
            text, ready = machine.receive("@ready\n", BOOT_SECONDS)
            if not ready:
                raise GuestError(f"the guest did not boot in {BOOT_SECONDS} s:\n{machine.console()}{text}")
            machine.save(snapshot)
        shutil.rmtree(Path(work, "root"))
        home.mkdir(exist_ok=True)
        archive.replace(guest.archive)
        snapshot.replace(guest.snapshot)  # last: its presence says that all is there


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Test processes run side by side: one boots, the others wait for it."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _forget_all(cache: Path) -> None:
    """Snapshots of modules that are no more: each takes as much room as the guest has memory in use."""
    for stale in cache.iterdir():
        if stale.is_dir():
            shutil.rmtree(stale)


def _digest(debian: Debian, modules: Sequence[Path], programs: Sequence[Path], memory: int) -> str:
    version = subprocess.run(["qemu-system-x86_64", "--version"], capture_output=True, check=True).stdout
    digest = hashlib.sha256(repr((COMMAND_LINE, _OPTIONS, memory, initramfs.INIT, version)).encode())
    digest.update(Path(initramfs.__file__).read_bytes())
    files = [file for path in modules for file in (sorted(path.rglob("*.*")) if path.is_dir() else [path])]
    for path in (debian.vmlinuz, *programs, *sorted(file for file in files if file.is_file())):
        digest.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


@dataclass(slots=True)
class Machine:
    """A running QEMU: its process, the socket of ttyS1 and that of its monitor."""

    process: subprocess.Popen[bytes]
    serial: socket.socket
    monitor: socket.socket
    directory: Path

    def send(self, text: str) -> None:
        """Type text into ttyS1."""
        self.serial.sendall(text.encode())

    def start(self, script: str) -> None:
        """Have init source a shell script; the rest of what is sent is the script's to read."""
        self.send(script + "\n@go\n")

    def receive(self, end: str, seconds: float) -> tuple[str, bool]:
        """What ttyS1 says up to ``end``, and whether that came before the time was up or the machine died."""
        deadline = time.monotonic() + seconds
        data = bytearray()
        while not data.endswith(end.encode()):
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                return data.decode(errors="replace"), False
            self.serial.settimeout(remaining)
            try:
                piece = self.serial.recv(65536)
            except (TimeoutError, ConnectionResetError):  # reset: it died with a request unread
                piece = b""
            if not piece:
                return data.decode(errors="replace"), False
            data += piece
        return data[: -len(end)].decode(errors="replace"), True

    def command(self, name: str, **arguments: Any) -> Any:
        """Execute one command of QEMU's machine protocol and return what it returns."""
        self.monitor.sendall(json.dumps({"execute": name, "arguments": arguments}).encode() + b"\n")
        while True:
            answer = json.loads(self._line())
            if "error" in answer:
                raise GuestError(f"QEMU refuses {name}: {answer['error']['desc']}")
            if "return" in answer:
                return answer["return"]

    def greet(self) -> None:
        """Take QEMU's greeting and leave its negotiation mode."""
        self._line()
        self.command("qmp_capabilities")

    def _line(self) -> bytes:
        line = bytearray()
        while not line.endswith(b"\n"):
            byte = self.monitor.recv(1)
            if not byte:
                raise GuestError("QEMU has ended")
            line += byte
        return bytes(line)

    def save(self, snapshot: Path) -> None:
        """Stop the machine and write all its state to a file."""
        self.command("stop")
        self.command("migrate-set-parameters", **{"max-bandwidth": 1 << 40})
        self.command("migrate", uri=f"exec:cat >{shlex.quote(str(snapshot))}")
        self._wait("query-migrate", {"completed"}, BOOT_SECONDS)

    def wait_until_resumed(self, seconds: float) -> None:
        """Wait until a snapshot has been read."""
        self._wait("query-status", {"paused", "running"}, seconds)

    def _wait(self, query: str, wanted: set[str], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while (status := self.command(query).get("status")) not in wanted:
            if status == "failed" or time.monotonic() > deadline:
                raise GuestError(f"{query}: {status}")
            time.sleep(0.01)

    def console(self) -> str:
        """What the kernel wrote to ttyS0 since this process began."""
        return (self.directory / "console").read_text(errors="replace")


@contextlib.contextmanager
def _machine(kernel: Path, archive: Path, memory: int, *options: str) -> Iterator[Machine]:
    with tempfile.TemporaryDirectory(prefix="ukmod-guest-") as name, contextlib.ExitStack() as stack:
        directory = Path(name)
        argv = [
            *(
                "qemu-system-x86_64",
                *_OPTIONS,
                "-m",
                str(memory),
                "-kernel",
                str(kernel),
                "-initrd",
                str(archive),
            ),
            *("-append", COMMAND_LINE, "-serial", f"file:{directory / 'console'}"),
            *("-chardev", f"socket,id=script,path={directory / 'script'},server=on,wait=off"),
            *("-serial", "chardev:script", "-qmp", f"unix:{directory / 'monitor'},server=on,wait=off"),
            *options,
        ]
        errors = directory / "errors"
        with errors.open("wb") as sink:
            process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink)
        stack.callback(_end, process)
        serial = stack.enter_context(_connect(directory / "script", process, errors))
        monitor = stack.enter_context(_connect(directory / "monitor", process, errors))
        monitor.settimeout(BOOT_SECONDS)
        machine = Machine(process, serial, monitor, directory)
        machine.greet()
        yield machine


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def _connect(path: Path, process: subprocess.Popen[bytes], errors: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    while process.poll() is None:
        try:
            connection.connect(os.fspath(path))
        except OSError:
            time.sleep(0.01)
        else:
            return connection
    connection.close()
    raise GuestError(f"QEMU would not start: {errors.read_text(errors='replace').strip()}")
