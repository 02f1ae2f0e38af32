"""A shell at a terminal in the emulated machine, compared with the same shell at a terminal of the host's."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest
from tests.kernel.user.dialogue import Dialogue

from ukmod.cli.shell import interact_with_host
from ukmod.kernel.api import Kernel

pytestmark = pytest.mark.real

BUSYBOX = "/bin/busybox"
PROMPT = "@ "
ENV = {"PS1": PROMPT, "PATH": "/bin", "TERM": "xterm", "HOME": "/", "PWD": "/"}
Step = tuple[str, str]


@pytest.fixture
def in_machine(booted: Kernel) -> Callable[[], Dialogue]:
    """Begins a dialogue with the shell of a copy of the machine."""

    def live() -> int:
        booted.core.cpu.after_fork()
        booted.put(BUSYBOX, BUSYBOX)
        booted.process.symlink("busybox", "/bin/sh")
        return interact_with_host(booted, ["/bin/sh"], ENV, "/")

    return lambda: begun(live)


def begun(live: Callable[[], int]) -> Dialogue:
    dialogue = Dialogue(live)
    dialogue.expect(PROMPT)
    return dialogue


def on_host() -> Dialogue:
    """Begin a dialogue with the host's shell."""

    def live() -> int:
        os.chdir("/")
        os.execve(BUSYBOX, ["/bin/sh"], ENV)

    return begun(live)


def line(command: str) -> Step:
    """Type a command, and wait for the next prompt."""
    return f"{command}\r", f"\n{PROMPT}"


def begin(command: str) -> Step:
    """Type a command, and wait until it is about to run: the terminal has the modes of a program."""
    return f"sh -c 'echo be\"\"gun; exec {command}'\r", "begun\r\n"


def job(trap: str) -> str:
    """A job that executes something when it is continued: ``fg`` gives it the terminal before."""
    return f"sh -c \"trap '{trap}' CONT; echo be''gun; while :; do sleep 0.1; done\""


CTRL_C, CTRL_Z, CTRL_D, CTRL_BACKSLASH = "\x03", "\x1a", "\x04", "\x1c"
BACK = f"\n{PROMPT}"
DIALOGUES: dict[str, list[Step]] = {
    "a key ends the job in the foreground": [
        begin("cat"), ("typed\r", "typed\r\ntyped\r\n"), (CTRL_C, BACK), line("echo $?"),
        begin("cat"), ("typed\r", "typed\r\ntyped\r\n"), (CTRL_BACKSLASH, BACK), line("echo $?"),
    ],
    "a job is stopped, continued in the background and in the foreground": [
        (job("[ \\$((n+=1)) = 1 ] || echo resumed") + "\r", "begun\r\n"),
        (CTRL_Z, BACK), line("echo $?; jobs"),
        line("bg"), line("sleep 0.1; jobs"), ("fg\r", "\nresumed\r\n"), (CTRL_C, BACK), line("jobs; echo $?"),
    ],
    "reading stops a job in the background": [
        line("cat & wait"), line("jobs"), ("fg\r", "cat\r\n"), ("typed\r", "typed\r\ntyped\r\n"),
        (CTRL_D, PROMPT), line("jobs"),
    ],
    "writing stops a job in the background if the terminal is set so": [
        line("stty tostop"), line("echo text & wait"), line("jobs"), line("stty -tostop"), line("fg"),
    ],
    "a pipeline is one job": [
        line("true | sleep 1000 | " + job("echo resumed") + " & sleep 0.1"), line("jobs"),
        ("fg\r", "\nresumed\r\n"), (CTRL_C, BACK), line("jobs; echo $?"),
        line("echo a | cat | tr a b"),
    ],
    "a signal stops and continues a child": [
        line("sleep 1000 & kill -STOP $!; sleep 0.1; jobs"), line("kill -CONT %1; sleep 0.1; jobs"),
        line("kill %1; sleep 0.1; wait"), line("jobs"),
    ],
    "lines are edited": [
        line("echo xyz\x7f\x7f\x7fabc"), line("echo \x01\x0becho 1"), line("\x1b[A"),
    ],
    "lines are edited by the terminal itself": [
        begin("cat"), ("abcx\x7fd\r", "d\r\nabcd\r\n"), ("lost\x15kept\r", "kept\r\nkept\r\n"),
        (CTRL_D, PROMPT),
    ],
    "modes are those of a new terminal": [line("stty -a; tty | cut -c 1-9")],
    "an editor takes single keys": [
        ("vi /tmp/ukmod-written\r", "100%"), ("ifirst", "first"), ("\x1b", "- /tmp"), (":wq\r", PROMPT),
        line("cat /tmp/ukmod-written"),
        line("stty -a | grep icanon; rm /tmp/ukmod-written"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", DIALOGUES)
def test_the_terminal_shows_what_a_real_one_shows(name: str, in_machine: Callable[[], Dialogue]) -> None:
    shown = []
    for begin_dialogue in (on_host, in_machine):
        dialogue = begin_dialogue()
        dialogue.hold(DIALOGUES[name])
        dialogue.type("exit 5\r")
        assert dialogue.end() == 5
        shown.append(dialogue.shown)
    assert shown[1] == shown[0]


def test_a_loop_that_makes_no_system_call_is_ended_by_a_key(in_machine: Callable[[], Dialogue]) -> None:
    dialogue = in_machine()
    dialogue.hold([("echo be''gun; while :; do :; done\r", "begun\r\n"), (CTRL_C, BACK)])
    dialogue.type("exit 7\r")
    assert dialogue.end() == 7


def test_the_window_has_the_size_of_the_hosts(in_machine: Callable[[], Dialogue]) -> None:
    dialogue = in_machine()
    dialogue.hold([("stty size\r", "24 80")])
    dialogue.hold([("trap 'stty size' WINCH; echo read''y\r", f"ready\r\n{PROMPT}")])
    dialogue.resize(30, 132)
    dialogue.hold([("\r", PROMPT), ("stty size\r", "30 132"), ("exit\r", "exit")])
    assert dialogue.end() == 0


def test_the_hosts_terminal_is_restored(in_machine: Callable[[], Dialogue]) -> None:
    dialogue = in_machine()
    assert not dialogue.is_restored()
    dialogue.type("exit\r")
    assert dialogue.end() == 0
    assert dialogue.is_restored()


def test_a_signal_ends_the_machine_and_restores_the_terminal(in_machine: Callable[[], Dialogue]) -> None:
    dialogue = in_machine()
    os.kill(dialogue.pid, signal.SIGTERM)
    assert dialogue.end() == 128 + signal.SIGTERM
    assert dialogue.is_restored()
