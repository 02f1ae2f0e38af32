"""Normalisation takes what varies, and nothing that a module said or a kernel meant."""

from __future__ import annotations

import pytest
from tests import normalise
from tests.steps import Case, LogLine, Outcome


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("K1 : pid of current thread 88", "K1 : pid of current thread <pid>"),
        ("process with pid 88...", "process with pid <pid>..."),
        ("oops 28672 1 - Loading 0xffffffffc021d000 (OE+)", "oops 28672 1 - Loading <address> (OE+)"),
        ("%p -> [00000000a0f98937]", "%p -> [<address>]"),
        ("list_del corruption, ffff8e90cf503fe8->next", "list_del corruption, <address>->next"),
        ("note: oopser[88] exited", "note: oopser[<pid>] exited"),
        (
            "CPU: 0 PID: 87 Comm: insmod Tainted: G           OE      6.1.0-56-amd64 #1  Debian 6.1.192-2",
            "CPU: 0 PID: <pid> Comm: insmod Tainted: G           OE",
        ),
        ("CPU: 0 PID: 87 Comm: insmod Not tainted 6.1.0", "CPU: 0 PID: <pid> Comm: insmod Not tainted"),
    ],
)
def test_what_varies_is_replaced(text: str, expected: str) -> None:
    assert normalise.line(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "%p -> [0000000000000000]",
        "%px -> [0000000000001234]",
        "%p -> [ffffffffffffffea]",
        "BUG: unable to handle page fault for address: 0000000000400000",
        "rm_flood: 60 threads: 60 got 0",
        "request_module: kmod busy with 50 threads for more than 5 seconds now",
        'rm_call: request_module("nobody") returned 256',
    ],
)
def test_what_is_meant_stays(text: str) -> None:
    assert normalise.line(text) == text


def test_of_an_oops_the_kind_the_culprit_and_the_modules_frames_stay() -> None:
    oops = """\
BUG: kernel NULL pointer dereference, address: 0000000000000008
#PF: supervisor write access in kernel mode
PGD fa31067 P4D fa31067 PUD fa32067 PMD 0
Oops: 0002 [#1] PREEMPT SMP NOPTI
Hardware name: QEMU Standard PC (i440FX + PIIX, 1996), BIOS 1.16.2-debian-1.16.2-1 04/01/2014
RIP: 0010:null_write+0x5/0x15 [oops]
Code: d0 48 8b 94 24
RSP: 0018:ffffd0bcc063bf78 EFLAGS: 00000246
RAX: 0000000000000000 RBX: ffff8e90cfa27170 RCX: 0000000000000040
Call Trace:
 <TASK>
 recursion+0x3a/0x66 [oops]
 recursion+0x3a/0x66 [oops]
 go+0x38/0x21a [oops]
 ? 0xffffffffc0222000
 do_one_initcall+0x59/0x220
 </TASK>
---[ end trace 0000000000000000 ]---
RIP: 0010:null_write+0x5/0x15 [oops]
CR2: 0000000000000008 CR3: 000000000fa66000 CR4: 00000000000006f0""".splitlines()
    assert [entry.text for entry in normalise.log(LogLine(4, text) for text in oops)] == [
        "BUG: kernel NULL pointer dereference, address: 0000000000000008",
        "#PF: supervisor write access in kernel mode",
        "Oops: 0002 [#1] PREEMPT SMP NOPTI",
        "RIP: 0010:null_write+0x5/0x15 [oops]",
        " recursion+0x3a/0x66 [oops]",
        " go+0x38/0x21a [oops]",
        "---[ end trace 0000000000000000 ]---",
    ]


def test_lines_without_an_order_are_sorted_in_their_places() -> None:
    case = Case("c", "", (), unordered=r"flood-\d")
    log = tuple(LogLine(4, text) for text in ("flood-2", "between", "flood-1"))
    (outcome,) = normalise.outcomes(case, (Outcome("insmod", "0", log=log),))
    assert [entry.text for entry in outcome.log] == ["flood-1", "between", "flood-2"]


def test_a_console_has_no_levels() -> None:
    case = Case("c", "", (), dies=True)
    log = (LogLine(6, "last words"),)
    alive, dead = normalise.outcomes(case, (Outcome("insmod", "0", log=log), Outcome("insmod", "", log=log)))
    assert (alive.log[0].level, dead.log[0].level) == (6, 0)
