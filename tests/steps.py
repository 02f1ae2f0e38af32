"""What a case is made of: data that says which modules to load, in which order, around which programs.

A case is executed twice by code that knows nothing of the other: by a real kernel under QEMU
(``tests/real/guest.py`` turns it into a shell script) and by ukmod. Nothing here executes anything.

The rules both executors keep:

* The machine is fresh: nothing is loaded, no taint, ``kernel.modprobe`` is ``/sbin/modprobe``, one CPU.
* ``/lib/modules/<release>/extra`` holds every compiled case module and the two of the demo, depmod has run;
  ``Case.config`` is ``/etc/modprobe.d/case.conf``; ``Case.programs`` stand at their paths.
* Steps run one after the other. After each, ``SETTLE`` seconds pass in which what it set off may go on;
  what the kernel logged from the step's start to the end of that time is the step's log.
* Each step has a result, a short string: see :data:`Step`. ``"0"`` is success everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

SETTLE = 0.05
"""Seconds that pass after every step."""


@dataclass(frozen=True, slots=True)
class Insmod:
    """finit_module() of <module>.ko with these parameters.

    Result: ``0``; the errno's name, ``-ENOENT``; or ``SIGKILL``, ``SIGSEGV`` where an oops ended the caller.
    """

    module: str
    params: str = ""


@dataclass(frozen=True, slots=True)
class Rmmod:
    """delete_module(name, O_NONBLOCK). Result: ``0`` or the errno's name."""

    module: str


@dataclass(frozen=True, slots=True)
class Modprobe:
    """/sbin/modprobe with these arguments. Result: its exit status; what it writes is the step's output."""

    args: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sleep:
    """Let time pass. Result: ``0``."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Sysctl:
    """Set a sysctl, ``Sysctl("kernel.modprobe", "")``. Result: ``0`` or the errno's name."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Write:
    """Write text, a newline added, to a file of /proc or /sys. Result: ``0`` or the errno's name."""

    path: str
    text: str


@dataclass(frozen=True, slots=True)
class Read:
    """Read a file of /proc or /sys. Result: ``0`` or the errno's name; its lines are the step's output."""

    path: str


@dataclass(frozen=True, slots=True)
class List:
    """List a directory of /proc or /sys. Result: ``0`` or the errno's name; its entries are the output."""

    path: str


@dataclass(frozen=True, slots=True)
class Kill:
    """Send a signal to every process that runs the program of this name, ``modprobe``. Result: ``0``."""

    program: str
    signal: int


@dataclass(frozen=True, slots=True)
class Start:
    """Begin a step and do not wait for it. Result: ``started``."""

    step: Insmod | Rmmod | Modprobe | Write


@dataclass(frozen=True, slots=True)
class Join:
    """Wait for every started step. Result: theirs, in the order they were started, spaces between."""


Step: TypeAlias = Insmod | Rmmod | Modprobe | Sleep | Sysctl | Write | Read | List | Kill | Start | Join


@dataclass(frozen=True, slots=True)
class Program:
    """A program that a usermode helper can execute, by what it does, in this order.

    ``say``: logs ``<its name>: argv=A B C``, the same with ``env=`` and ``cwd=``, to /dev/kmsg at level 5;
    ``sleep``: waits so many seconds; ``load``: runs ``modprobe`` with these arguments and waits for it;
    ``log``: logs ``<its name>: <log>``; then it dies of ``signal`` or exits with ``status``.
    ``executable`` False: the file is there without any x bit.
    """

    path: str
    say: bool = False
    sleep: float = 0
    load: tuple[str, ...] = ()
    log: str = ""
    signal: int = 0
    status: int = 0
    executable: bool = True


@dataclass(frozen=True, slots=True)
class Case:
    """One script with a name. ``about`` says what it is meant to show.

    ``unordered``: a pattern; lines of the log that match it as a whole have no order among themselves.
    ``dies``: the machine panics under the last step that has an outcome; that step's result is empty, and its
    log comes from the console, which has no levels: 0 stands for each.
    ``needs_image``: its module calls functions that only a kernel's image has.
    """

    name: str
    about: str
    steps: tuple[Step, ...]
    programs: tuple[Program, ...] = ()
    config: str = ""
    unordered: str = ""
    dies: bool = False
    needs_image: bool = False


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line of the kernel log: the level 0 to 7 and the text without its time."""

    level: int
    text: str

    def __str__(self) -> str:
        return f"<{self.level}>{self.text}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a step came to. ``result`` is empty where the machine died under it."""

    step: str
    result: str
    output: tuple[str, ...] = ()
    log: tuple[LogLine, ...] = ()
