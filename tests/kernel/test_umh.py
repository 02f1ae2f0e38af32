"""Usermode helpers: kernel/umh.c; tests/golden has what modules see of them (umh_*)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from errno import E2BIG, EACCES, EAGAIN, EBUSY, EINVAL, ENOENT, ENOMEM

import pytest
from tests.kernel.conftest import Guest
from tests.kernel.tasks import call, kill, signed, start

from ukmod.errors import LimitError
from ukmod.kernel import umh
from ukmod.kernel.core import Core
from ukmod.kernel.export import exports_of
from ukmod.kernel.sched.core import ERESTARTSYS, PF_FORKNOEXEC, PF_NOFREEZE, Task
from ukmod.kernel.sighand import SIG_KTHREAD
from ukmod.kernel.signal_numbers import SIGCHLD
from ukmod.kernel.trace import Request
from ukmod.kernel.umh import (
    UMH_DISABLED,
    UMH_ENABLED,
    UMH_FREEZING,
    UMH_KILLABLE,
    UMH_NO_WAIT,
    UMH_WAIT_EXEC,
    UMH_WAIT_PROC,
)
from ukmod.machine.registers import MASK64
from ukmod.userland import Process

HELPER = "/sbin/helper"
GFP_KERNEL = 0xCC0
SIGUSR1 = 10
Ran = list[tuple[tuple[str, ...], dict[str, str], str]]
"""The arguments, environment and name of each program that has run."""


@dataclass
class World:
    """A machine with one program, which takes two seconds and tells when it did what."""

    kernel: Core
    guest: Guest
    events: list[str] = field(default_factory=list)
    status: int = 0

    def helper(self, process: Process) -> int:
        self.events.append("begins")
        process.sys.nanosleep(2 * 10**9)
        self.events.append("ends")
        return self.status

    def pointers(self, *texts: bytes) -> int:
        return self.guest.words(*(self.guest.put(text) for text in texts), 0)

    def callback(self, name: str, result: int = 0, look: Callable[[int], object] = lambda _: None) -> int:
        """The address of an init or cleanup function that leaves word of itself."""

        def function(info: int, *_: int) -> int:
            assert info in self.kernel.helpers._infos, "it is passed the struct"
            look(info)
            self.events.append(name)
            return result & 0xFFFF_FFFF

        return self.guest.python(function, 2)

    def setup(self, path: bytes = HELPER.encode(), init: int = 0, cleanup: int = 0) -> int:
        argv, envp = self.pointers(path, b"first", b"a second"), self.pointers(b"HOME=/", b"A=b=c")
        arguments = (self.guest.put(path), argv, envp, GFP_KERNEL, init, cleanup, 0)
        return self.guest.pointer("call_usermodehelper_setup", *arguments)

    def run(self, info: int, wait: int, *, limit: float = 10) -> int | None:
        """What call_usermodehelper_exec() returns; None if it has not within that many seconds."""
        results: list[int] = []

        def body() -> None:
            results.append(call(self.kernel, "call_usermodehelper_exec", info, wait))
            self.events.append("returns")

        start(self.kernel, "asker", body)
        self.kernel.run(limit)
        return results[0] if results else None

    def member(self, info: int, name: str) -> int:
        return self.kernel.memory.u64(info + self.kernel.types.offset("subprocess_info", name))

    def set_member(self, info: int, name: str, value: int) -> None:
        self.kernel.memory.set_u64(info + self.kernel.types.offset("subprocess_info", name), value)

    def retval(self, info: int) -> int:
        return signed(self.kernel.memory.u32(info + self.kernel.types.offset("subprocess_info", "retval")))


@pytest.fixture
def world(kernel: Core, guest: Guest) -> World:
    made = World(kernel, guest)
    kernel.processes.programs.install(HELPER, made.helper)
    return made


class TestHowLongOneWaits:
    """include/linux/umh.h: not at all, until the program runs, or until it has ended."""

    def test_the_flags_have_the_kernels_values(self) -> None:
        """Modules were compiled with them."""
        assert (UMH_NO_WAIT, UMH_WAIT_EXEC, UMH_WAIT_PROC, UMH_KILLABLE) == (0, 1, 2, 4)

    def test_umh_no_wait_returns_before_the_helper_begins(self, world: World) -> None:
        assert world.run(world.setup(), UMH_NO_WAIT) == 0
        assert world.events == ["returns", "begins", "ends"]

    def test_until_it_runs(self, world: World) -> None:
        world.status = 3
        assert world.run(world.setup(), UMH_WAIT_EXEC) == 0, "whatever becomes of it"
        assert world.events == ["returns", "begins", "ends"]

    @pytest.mark.parametrize("status", [0, 1, 127, 255])
    def test_until_it_has_ended(self, world: World, status: int) -> None:
        """The result is a wait status: the exit code is in its second byte."""
        world.status = status
        assert world.run(world.setup(), UMH_WAIT_PROC) == status << 8
        assert world.events == ["begins", "ends", "returns"]

    def test_a_helper_that_dies_of_a_signal(self, kernel: Core, world: World) -> None:
        kernel.processes.programs.install(HELPER, lambda p: p.sys.kill(p.sys.getpid(), 15) or 0)
        assert world.run(world.setup(), UMH_WAIT_PROC) == 15


class TestWhatCannotBeExecuted:
    """The errno of do_execve(), for those who wait."""

    @pytest.mark.parametrize("wait", [UMH_WAIT_EXEC, UMH_WAIT_PROC, UMH_WAIT_PROC | UMH_KILLABLE])
    def test_what_is_not_there(self, world: World, wait: int) -> None:
        assert world.run(world.setup(b"/sbin/none"), wait) == -ENOENT

    def test_what_may_not_be_executed(self, kernel: Core, world: World) -> None:
        kernel.processes.programs.install("/etc/passwd", None)
        assert world.run(world.setup(b"/etc/passwd"), UMH_WAIT_EXEC) == -EACCES

    def test_umh_no_wait_never_reports_a_failed_exec(self, world: World) -> None:
        assert world.run(world.setup(b"/sbin/none"), UMH_NO_WAIT) == 0

    def test_an_empty_path_is_nothing_to_do(self, world: World) -> None:
        """As CONFIG_STATIC_USERMODEHELPER_PATH="" has it: "disable all call_usermodehelper() calls"."""
        info = world.setup(b"", world.callback("init"), world.callback("cleanup"))
        assert world.run(info, UMH_WAIT_PROC) == 0
        assert world.events == ["cleanup", "returns"]

    @pytest.mark.parametrize("wait", [UMH_WAIT_EXEC, UMH_WAIT_PROC])
    def test_without_room_for_another_task_the_errno_is_that_of_fork(
        self, kernel: Core, world: World, wait: int
    ) -> None:
        """There is room for the caller alone."""
        world.run(world.setup(), UMH_WAIT_PROC)  # from here on there is a worker
        world.events.clear()
        info = world.setup(cleanup=world.callback("cleanup"))
        kernel.tasks.max_threads = len(kernel.tasks.all()) + 1
        assert world.run(info, wait) == -EAGAIN
        assert world.events == ["cleanup", "returns"]

    @pytest.mark.parametrize("member", ["argv", "envp"])
    def test_more_arguments_than_fit_are_too_many(self, world: World, member: str) -> None:
        """bprm_stack_limits(): pointers and strings together may take 2 MiB."""
        size = (2 << 20) // 32
        text, longer = (world.guest.put(b"x" * (size - 8 - 1 + more)) for more in (0, 1))
        for last, result in ((text, 0), (longer, -E2BIG)):
            info = world.setup()
            world.set_member(info, member, world.guest.words(*[text] * 31, last, 0))
            assert world.run(info, UMH_WAIT_PROC) == result

    def test_a_path_that_cannot_be_read_is_an_oops_when_it_is_needed(
        self, kernel: Core, guest: Guest
    ) -> None:
        """call_usermodehelper_setup() does not look at it."""
        info = guest.call("call_usermodehelper_setup", 8, 0, 0, GFP_KERNEL, 0, 0, 0) & MASK64
        assert not kernel.oopses
        start(kernel, "asker", lambda: call(kernel, "call_usermodehelper_exec", info, UMH_WAIT_PROC))
        kernel.run(1)
        assert [oops.address for oops in kernel.oopses] == [8]

    def test_no_path_is_invalid(self, world: World) -> None:
        seen: list[int] = []
        cleanup = world.callback("cleanup", look=lambda info: seen.append(world.retval(info)))
        info = world.setup(cleanup=cleanup)
        world.set_member(info, "path", 0)
        assert world.run(info, UMH_WAIT_PROC) == -EINVAL
        assert world.events == ["cleanup", "returns"]
        assert seen == [0], "no status: nothing ran"


class TestCallbacks:
    """``init`` is called by the process that becomes the program, ``cleanup`` when all is over."""

    @pytest.mark.parametrize(
        ("wait", "events"),
        [
            (UMH_WAIT_PROC, ["init", "begins", "ends", "cleanup", "returns"]),
            (UMH_WAIT_EXEC, ["init", "cleanup", "returns", "begins", "ends"]),
            (UMH_NO_WAIT, ["returns", "init", "cleanup", "begins", "ends"]),
        ],
    )
    def test_init_and_cleanup_are_called_in_the_kernels_order(
        self, world: World, wait: int, events: list[str]
    ) -> None:
        world.run(world.setup(HELPER.encode(), world.callback("init"), world.callback("cleanup")), wait)
        assert world.events == events

    @pytest.mark.parametrize("result", [-EINVAL, 1, 0x7FFF_FFFF, -(1 << 31)])
    @pytest.mark.parametrize("wait", [UMH_WAIT_EXEC, UMH_WAIT_PROC])
    def test_an_init_that_fails_keeps_the_program_from_running(
        self, world: World, wait: int, result: int
    ) -> None:
        seen: list[int] = []
        cleanup = world.callback("cleanup", look=lambda info: seen.append(world.retval(info)))
        info = world.setup(HELPER.encode(), world.callback("init", result), cleanup)
        results: list[int] = []
        helpers = world.kernel.helpers
        start(world.kernel, "asker", lambda: results.append(helpers.exec(helpers.find(info), wait)))
        world.kernel.run(1)
        assert results == [result]
        assert world.events == ["init", "cleanup"]
        assert seen == [result], "retval"

    @pytest.mark.parametrize("wait", [UMH_NO_WAIT, UMH_WAIT_EXEC, UMH_WAIT_PROC | UMH_KILLABLE])
    def test_init_sees_how_the_caller_waits_and_the_credentials(
        self, kernel: Core, world: World, wait: int
    ) -> None:
        seen: list[tuple[int, bool]] = []

        def init(info: int, cred: int) -> int:
            offset = kernel.types.offset("subprocess_info", "wait")
            task = kernel.sched.task()
            seen.append((kernel.memory.u32(info + offset), cred != kernel.creds.of(task)))
            usage = kernel.memory.u32(cred + kernel.types.offset("cred", "usage"))
            signal = kernel.memory.u32(task.address + kernel.types.offset("task_struct", "exit_signal"))
            assert (usage, kernel.tasks.pf(task), signal) == (1, PF_NOFREEZE | PF_FORKNOEXEC, SIGCHLD)
            kernel.memory.set_u32(cred + kernel.types.offset("cred", "uid"), 7)
            return 0

        world.run(world.setup(init=world.guest.python(init, 2)), wait)
        assert seen == [(wait, True)]

    def test_committed_credentials_are_the_tasks_own_until_it_is_freed(self, kernel: Core) -> None:
        task, before = kernel.tasks.create("helper", int), len(list(kernel.slab.objects()))
        shared, new = kernel.creds.of(task), kernel.creds.prepare(task)
        kernel.creds.commit(task, new)
        members = [kernel.types.offset("task_struct", name) for name in ("cred", "real_cred")]
        assert [kernel.memory.u64(task.address + member) for member in members] == [new, new]
        assert kernel.creds.of(task) == new != shared
        kernel.tasks.put(task, 2)
        assert kernel.creds.of(task) == shared
        assert len(list(kernel.slab.objects())) == before

    def test_the_struct_says_how_the_caller_waits_while_it_does(self, kernel: Core, world: World) -> None:
        info = world.setup()
        assert world.run(info, UMH_WAIT_PROC, limit=1) is None
        assert kernel.memory.u32(info + kernel.types.offset("subprocess_info", "wait")) == UMH_WAIT_PROC

    @pytest.mark.parametrize(
        ("wait", "ancestors"),
        [
            (UMH_NO_WAIT, ["kthreadd", "swapper/0"]),
            (UMH_WAIT_EXEC, ["kthreadd", "swapper/0"]),
            (UMH_WAIT_PROC, ["kworker/u2:0", "kthreadd", "swapper/0"]),
        ],
    )
    def test_a_worker_is_the_parent_only_of_a_helper_whose_end_it_waits_for(
        self, kernel: Core, world: World, wait: int, ancestors: list[str]
    ) -> None:
        """The others have CLONE_PARENT: kthreadd reaps them."""
        seen: list[str] = []

        def look(_: int) -> None:
            task = kernel.sched.current
            while task is not None:
                seen.append(kernel.tasks.comm(task))
                task = task.parent

        world.run(world.setup(init=world.callback("init", look=look)), wait)
        assert seen == ["kworker/u2:0", *ancestors]

    @pytest.mark.parametrize("wait", [UMH_NO_WAIT, UMH_WAIT_EXEC, UMH_WAIT_PROC])
    def test_a_thread_that_became_no_program_ends_with_exit_code_0(
        self, kernel: Core, world: World, wait: int
    ) -> None:
        """do_exit(0): the errno is in the struct."""
        tasks: list[Task] = []

        def look(_: int) -> None:
            helper = kernel.sched.task()
            tasks.append(helper)

        world.run(world.setup(b"/sbin/none", init=world.callback("init", look=look)), wait)
        assert [(task.exited, task.exit_code) for task in tasks] == [(True, 0)] * len(tasks)
        assert tasks

    @pytest.mark.parametrize("member", ["init", "cleanup"])
    def test_the_callbacks_may_be_changed_until_they_are_called(self, world: World, member: str) -> None:
        info = world.setup(HELPER.encode(), world.callback("old init"), world.callback("old cleanup"))
        world.set_member(info, member, world.callback("new"))
        world.run(info, UMH_WAIT_PROC)
        assert "new" in world.events
        assert f"old {member}" not in world.events

    def test_init_may_change_the_arguments(self, kernel: Core, world: World) -> None:
        """As coredumps and the key subsystem do: argv and envp are read after it."""
        ran: list[Process] = []
        kernel.processes.programs.install(HELPER, lambda process: ran.append(process) or 0)

        def change(info: int) -> None:
            world.set_member(info, "argv", argv)
            world.set_member(info, "envp", envp)

        argv, envp = world.pointers(b"other"), world.pointers(b"X=1")
        world.run(world.setup(init=world.callback("init", look=change)), UMH_WAIT_PROC)
        assert [(tuple(p.argv), dict(p.env)) for p in ran] == [(("other",), {"X": "1"})]

    def test_init_may_change_the_program(self, kernel: Core, world: World) -> None:
        kernel.processes.programs.install("/sbin/other", lambda _: world.events.append("other") or 0)
        path = world.guest.put(b"/sbin/other")
        init = world.callback("init", look=lambda info: world.set_member(info, "path", path))
        world.run(world.setup(init=init), UMH_WAIT_PROC)
        assert world.events == ["init", "other", "returns"]

    def test_cleanup_sees_the_wait_status(self, world: World) -> None:
        seen: list[int] = []
        world.status = 2
        cleanup = world.callback("cleanup", look=lambda info: seen.append(world.retval(info)))
        world.run(world.setup(cleanup=cleanup), UMH_WAIT_PROC)
        assert seen == [2 << 8]


class TestArguments:
    @pytest.fixture
    def ran(self, kernel: Core, world: World) -> Ran:
        found: Ran = []

        def program(process: Process) -> int:
            comm = kernel.tasks.comm(kernel.sched.task())
            found.append((tuple(process.argv), dict(process.env), comm))
            return 0

        kernel.processes.programs.install(HELPER, program)
        return found

    def test_the_program_gets_its_arguments_and_environment(self, world: World, ran: Ran) -> None:
        world.run(world.setup(), UMH_WAIT_PROC)
        assert ran == [((HELPER, "first", "a second"), {"HOME": "/", "A": "b=c"}, "helper")]

    def test_the_environment_is_what_the_caller_says_and_getenv_finds_the_first(
        self, kernel: Core, world: World
    ) -> None:
        found: list[tuple[Sequence[str], Mapping[str, str]]] = []
        kernel.processes.programs.install(HELPER, lambda p: found.append((p.environ, p.env)) or 0)
        info = world.setup()
        world.set_member(info, "argv", world.pointers(b"a"))
        world.set_member(info, "envp", world.pointers(b"A=1", b"NONE", b"A=2", b"EMPTY="))
        world.run(info, UMH_WAIT_PROC)
        assert found == [(("A=1", "NONE", "A=2", "EMPTY="), {"A": "1", "EMPTY": ""})]

    def test_there_may_be_thousands_and_they_need_not_be_text(self, world: World, ran: Ran) -> None:
        info = world.setup()
        world.set_member(info, "argv", world.guest.words(*[world.guest.put(b"\xff")] * 3000, 0))
        assert world.run(info, UMH_WAIT_PROC) == 0
        assert ran[0][0] == ("\udcff",) * 3000

    def test_a_path_need_not_be_text(self, kernel: Core, world: World) -> None:
        kernel.processes.programs.install("/sbin/\udcff", world.helper)
        assert world.run(world.setup(b"/sbin/\xff"), UMH_WAIT_PROC) == 0
        assert world.events == ["begins", "ends", "returns"]

    def test_call_usermodehelper_is_both_functions_in_one(self, kernel: Core, world: World, ran: Ran) -> None:
        results: list[int] = []
        for path in (HELPER.encode(), b"/sbin/none"):
            arguments = (world.guest.put(path), world.pointers(b"a"), world.pointers(b"B=c"))
            results += [
                world.guest.call_int("call_usermodehelper", *arguments, wait)
                for wait in (UMH_NO_WAIT, UMH_WAIT_EXEC)
            ]
        kernel.run(1)
        assert results == [0, 0, 0, -ENOENT]
        assert ran == [(("a",), {"B": "c"}, "helper")] * 2

    def test_the_kernels_own_helpers_are_in_no_guest_memory(self, kernel: Core, ran: Ran) -> None:
        """As request_module() starts modprobe."""
        info = kernel.helpers.setup(HELPER, ["a", "b"], ["C=d"])
        results: list[int] = []
        start(kernel, "asker", lambda: results.append(kernel.helpers.exec(info, UMH_WAIT_PROC)))
        kernel.run(1)
        assert results == [0]
        assert ran == [(("a", "b"), {"C": "d"}, "helper")]


def test_without_memory_there_is_no_helper(
    kernel: Core, guest: Guest, monkeypatch: pytest.MonkeyPatch
) -> None:
    results: list[int] = []

    def refuse(_: int) -> int:
        raise LimitError("no memory")

    def body() -> None:
        monkeypatch.setattr(kernel.slab, "kernel_object", refuse)
        results.append(guest.call("call_usermodehelper_setup", *[0] * 7))
        results.append(guest.call_int("call_usermodehelper", 0, 0, 0, UMH_WAIT_PROC))

    start(kernel, "asker", body)
    kernel.run(1)
    assert results == [0, -ENOMEM]


@pytest.mark.parametrize(("wait", "left_to_itself"), [(UMH_NO_WAIT, True), (UMH_WAIT_PROC, False)])
@pytest.mark.parametrize("cleanup", [False, True])
def test_a_helper_that_no_task_waits_for_will_call_its_module(
    kernel: Core, world: World, wait: int, left_to_itself: bool, cleanup: bool
) -> None:
    """If the module is unloaded by then, that is reported: cleanup, the last one, or else init."""
    init = world.guest.python(lambda *_: call(kernel, "msleep", 1000), 2)
    last = world.callback("cleanup") if cleanup else 0
    info = world.setup(init=init, cleanup=last)

    def calls() -> list[tuple[int, int]]:
        return [(helper.address, function) for helper, function in kernel.helpers.unwaited()]

    assert calls() == [], "it has not been started"
    world.run(info, wait, limit=0.5)
    assert calls() == ([(info, last or init)] if left_to_itself else [])
    kernel.run(5)
    assert calls() == []


def test_each_step_is_traced(kernel: Core, world: World) -> None:
    """`ukmod demo` shows them."""
    kernel.trace.clear()
    world.run(world.setup(), UMH_WAIT_PROC)
    assert [(step.comm, step.what, step.detail) for step in kernel.trace.steps] == [
        ("asker", "queue_work", "khelper"),
        ("kworker/u2:0", "kernel_thread", HELPER),
        ("helper", "execve", f"{HELPER} first a second"),
        ("helper", "exit", ""),
    ]
    asker, worker, helper, _ = (step.pid for step in kernel.trace.steps)
    assert asker < worker < helper, "a worker begins with its first work"
    assert (kernel.trace.steps[1].caller, kernel.trace.steps[1].child) == (asker, helper)


def test_the_trace_knows_the_process_that_becomes_the_program(kernel: Core) -> None:
    """`ukmod demo` and Kernel.requests credit it, and no other helper, with the modules that it loads."""
    pids: list[int] = []

    def program(process: Process) -> int:
        pids.append(process.sys.getpid())
        kernel.trace.step(pids[-1], "helper", "live", "a_module")
        return 0

    kernel.processes.programs.install(HELPER, program)
    info = kernel.helpers.setup(HELPER, [HELPER], [])
    start(kernel, "asker", lambda: kernel.helpers.exec(info, UMH_WAIT_PROC))
    kernel.run(1)
    assert pids == [info.pid]
    for helper, loaded in ((info.pid, ("a_module",)), (info.pid + 1, ())):
        kernel.trace.request(Request(0, 1, "asker", "", "name", wait=True, result=0, helper=helper))
        assert kernel.trace.requests[-1].loaded == loaded


@pytest.mark.parametrize("known", [True, False])
def test_a_helper_runs_whether_or_not_the_layout_of_its_struct_is_known(
    kernel: Core, world: World, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    """Without its layout no module can access it, and callbacks are passed a pointer to something."""
    if not known:
        for name in ("has", "offset", "sizeof"):
            look_up = getattr(kernel.types, name)
            monkeypatch.setattr(
                kernel.types,
                name,
                lambda struct, *rest, f=look_up: f(struct.replace("subprocess_", "no_"), *rest),
            )
    world.status = 3
    info = world.setup(HELPER.encode(), world.callback("init"), world.callback("cleanup"))
    pointer, members = 8, 8
    assert world.guest.call("ksize", info) >= pointer * members
    assert world.run(info, UMH_WAIT_PROC) == 3 << 8
    assert world.events == ["init", "begins", "ends", "cleanup", "returns"]


def test_the_struct_has_room_for_all_of_it(world: World) -> None:
    size = world.kernel.types.sizeof("subprocess_info")
    assert world.guest.call("ksize", world.setup()) >= size


def test_the_struct_is_what_the_module_gave(kernel: Core, guest: Guest) -> None:
    given = ("path", "argv", "envp", "init", "cleanup", "data")
    info = guest.call("call_usermodehelper_setup", 1, 2, 3, GFP_KERNEL, 4, 5, 6) & MASK64
    offsets = [kernel.types.offset("subprocess_info", name) for name in given]
    assert [kernel.memory.u64(info + offset) for offset in offsets] == [1, 2, 3, 4, 5, 6]


def test_a_pointer_to_no_such_struct_is_an_oops(kernel: Core, world: World) -> None:
    no_such_struct = world.guest.put(b"", 512)
    assert world.run(no_such_struct, UMH_WAIT_PROC) is None
    assert [oops.address for oops in kernel.oopses] == [no_such_struct]


def test_the_functions_that_gpl_modules_alone_may_use() -> None:
    gpl = {name for name, (export, _) in exports_of(umh).items() if export.gpl}
    assert gpl == {f"usermodehelper_read_{rest}" for rest in ("trylock", "lock_wait", "unlock")}


@pytest.mark.parametrize("wait", [UMH_NO_WAIT, UMH_WAIT_EXEC, UMH_WAIT_PROC])
@pytest.mark.parametrize("path", [HELPER.encode(), b"/sbin/none", b""])
def test_the_struct_is_freed_once_whatever_comes_of_it(world: World, wait: int, path: bytes) -> None:
    info = world.setup(path, cleanup=world.callback("cleanup"))
    world.run(info, wait)
    assert world.events.count("cleanup") == 1
    world.events.clear()
    start(world.kernel, "late", lambda: call(world.kernel, "kfree", info))
    world.kernel.run(1)
    assert [report.kind for report in world.kernel.reports] == ["double-free"]
    assert world.run(info, wait) is None, "a use after free is an oops"
    assert world.kernel.oopses


class TestKilled:
    """Somebody who waits with UMH_KILLABLE can be killed; nobody else can."""

    def waiter(self, world: World, wait: int) -> list[int]:
        results: list[int] = []
        info = world.setup(cleanup=world.callback("cleanup"))
        body = lambda: results.append(call(world.kernel, "call_usermodehelper_exec", info, wait))  # noqa: E731
        task = start(world.kernel, "asker", body)
        world.kernel.run(1)
        kill(world.kernel, task)
        world.kernel.run(0.1)
        return results

    def test_the_helper_runs_on_and_frees_what_it_needs(self, world: World) -> None:
        assert self.waiter(world, UMH_WAIT_PROC | UMH_KILLABLE) == [-ERESTARTSYS]
        assert world.events == ["begins"]
        world.kernel.run(5)
        assert world.events == ["begins", "ends", "cleanup"]

    def test_a_waiter_that_is_killed_before_the_program_runs_does_not_stop_it(
        self, kernel: Core, world: World
    ) -> None:
        init = world.guest.python(lambda *_: call(kernel, "msleep", 1000), 2)
        info = world.setup(init=init, cleanup=world.callback("cleanup"))
        results: list[int] = []
        wait = UMH_WAIT_EXEC | UMH_KILLABLE
        body = lambda: results.append(call(kernel, "call_usermodehelper_exec", info, wait))  # noqa: E731
        task = start(kernel, "asker", body)
        kernel.run(0.5)
        kill(kernel, task)
        kernel.run(0.1)
        assert (results, world.events) == ([-ERESTARTSYS], [])
        kernel.run(5)
        assert world.events == ["cleanup", "begins", "ends"]

    def test_a_signal_that_does_not_kill_ends_no_wait(self, kernel: Core, world: World) -> None:
        results: list[int] = []
        info = world.setup()

        def body() -> None:
            kernel.cpu.call(kernel.symbols.address("kernel_sigaction"), SIGUSR1, SIG_KTHREAD)
            wait = UMH_WAIT_PROC | UMH_KILLABLE
            results.append(call(kernel, "call_usermodehelper_exec", info, wait))

        task = start(kernel, "asker", body)
        kernel.run(1)
        kernel.signals.send(task, SIGUSR1)
        kernel.run(0.1)
        assert results == []
        kernel.run(5)
        assert results == [0]

    def test_without_the_flag_it_waits_to_the_end(self, world: World) -> None:
        results = self.waiter(world, UMH_WAIT_PROC)
        assert results == []
        world.kernel.run(5)
        assert results == [0]


class TestDisabled:
    """usermodehelper_disable(), as when the machine is about to sleep."""

    def disable(self, kernel: Core) -> list[int]:
        results: list[int] = []
        start(kernel, "pm", lambda: results.append(kernel.helpers.disable()))
        return results

    def test_no_new_helper_may_start(self, kernel: Core, world: World) -> None:
        self.disable(kernel)
        kernel.run(0.1)
        own = kernel.helpers.setup(HELPER, [HELPER], [])
        kernel.run_task("asker", lambda: kernel.helpers.exec(own, UMH_WAIT_PROC))
        assert own.pid == 0, "no process became the program"
        assert world.run(world.setup(cleanup=world.callback("cleanup")), UMH_WAIT_PROC) == -EBUSY
        assert world.events == ["cleanup", "returns"]
        assert world.guest.call("usermodehelper_read_trylock") == -EAGAIN
        kernel.helpers.enable()
        assert world.run(world.setup(), UMH_WAIT_PROC) == 0
        assert world.guest.call("usermodehelper_read_trylock") == 0

    def test_disabling_waits_for_readers_and_readers_to_come_wait_for_it(
        self, kernel: Core, world: World
    ) -> None:
        """umhelper_sem: a device driver that loads firmware holds it."""
        assert world.guest.call_int("usermodehelper_read_trylock") == 0
        results, late = self.disable(kernel), []
        kernel.run(1)
        start(kernel, "late", lambda: late.append(world.guest.call_int("usermodehelper_read_trylock")))
        kernel.run(1)
        assert (results, late, kernel.helpers.disabled) == ([], [], False)
        world.guest.call("usermodehelper_read_unlock")
        kernel.run(1)
        assert (results, late, kernel.helpers.disabled) == ([0], [-EAGAIN], True)

    def test_a_reader_that_is_done_does_not_keep_helpers_from_being_disabled(
        self, kernel: Core, world: World
    ) -> None:
        assert world.guest.call_int("usermodehelper_read_trylock") == 0
        world.guest.call("usermodehelper_read_unlock")
        results = self.disable(kernel)
        kernel.run(0.1)
        assert (results, kernel.helpers.disabled) == ([0], True)

    def test_disabling_waits_for_helpers_under_way(self, kernel: Core, world: World) -> None:
        world.run(world.setup(), UMH_WAIT_PROC, limit=0.1)
        results = self.disable(kernel)
        kernel.run(1)
        assert results == []
        kernel.run(2)
        assert (results, kernel.helpers.disabled) == ([0], True)

    def test_disabling_waits_for_each_helper_under_way(self, kernel: Core, world: World) -> None:
        world.run(world.setup(), UMH_WAIT_PROC, limit=1)
        world.run(world.setup(), UMH_WAIT_PROC, limit=0.1)
        results = self.disable(kernel)
        kernel.run(1.5)
        assert results == [], "the second still runs"
        kernel.run(1)
        assert results == [0]

    @pytest.mark.parametrize("wait", [UMH_NO_WAIT, UMH_WAIT_EXEC])
    def test_a_helper_that_nobody_waits_for_does_not_keep_them_from_being_disabled(
        self, kernel: Core, world: World, wait: int
    ) -> None:
        """running_helpers counts callers, kernel/umh.c."""
        world.run(world.setup(), wait, limit=1)
        results = self.disable(kernel)
        kernel.run(0.1)
        assert results == [0]
        assert world.events == ["returns", "begins"]

    def test_helpers_are_enabled_at_first(self, kernel: Core) -> None:
        assert kernel.helpers.disabled is False

    def test_disabling_gives_up_after_five_seconds(self, kernel: Core, world: World) -> None:
        kernel.processes.programs.install(HELPER, lambda p: p.sys.nanosleep(60 * 10**9) or 0)
        world.run(world.setup(), UMH_WAIT_PROC, limit=0.1)
        results = self.disable(kernel)
        kernel.run(4.9)
        assert results == []
        kernel.run(0.2)
        assert results == [-EAGAIN]
        assert kernel.helpers.disabled is False, "and all is as before"


class TestReaders:
    """usermodehelper_read_lock_wait(): who needs helpers waits until they are enabled."""

    def wait(self, kernel: Core, timeout: int, *, enabled_after: float = 60) -> int:
        results: list[int] = []
        address = kernel.symbols.address("usermodehelper_read_lock_wait")
        start(kernel, "reader", lambda: results.append(kernel.cpu.call(address, timeout)))
        kernel.run(enabled_after)
        start(kernel, "pm", kernel.helpers.enable)
        kernel.run(1)
        (result,) = results
        return result - (1 << 64) if result >> 63 else result

    @pytest.mark.parametrize(("timeout", "result"), [(100, 100), (0, 0), (-1, -EINVAL)])
    def test_readers_return_at_once_while_helpers_are_enabled(
        self, kernel: Core, timeout: int, result: int
    ) -> None:
        assert self.wait(kernel, timeout) == result

    def test_the_jiffies_that_are_left(self, kernel: Core) -> None:
        kernel.run_task("pm", kernel.helpers.disable)
        hz = kernel.clock.hz
        assert self.wait(kernel, 10 * hz, enabled_after=4) == pytest.approx(6 * hz, abs=3)

    def test_trylock_waits_while_tasks_freeze(self, kernel: Core) -> None:
        results: list[int] = []
        address = kernel.symbols.address("usermodehelper_read_trylock")
        kernel.run_task("pm", lambda: kernel.helpers.disable(UMH_FREEZING))
        start(kernel, "reader", lambda: results.append(kernel.cpu.call(address)))
        kernel.run(1)
        assert results == []
        start(kernel, "pm", kernel.helpers.enable)
        kernel.run(1)
        assert results == [0]

    def test_trylock_is_refused_once_tasks_have_frozen(self, kernel: Core) -> None:
        results: list[int] = []
        address = kernel.symbols.address("usermodehelper_read_trylock")
        kernel.run_task("pm", lambda: kernel.helpers.disable(UMH_FREEZING))
        start(kernel, "reader", lambda: results.append(kernel.cpu.call(address) - (1 << 64)))
        kernel.run(1)
        start(kernel, "pm", lambda: kernel.helpers.set_disable_depth(UMH_DISABLED))
        kernel.run(1)
        assert results == [-EAGAIN]

    def test_enabling_is_no_way_to_disable(self, kernel: Core) -> None:
        assert kernel.helpers.disable(UMH_ENABLED) == -EINVAL
        assert not kernel.helpers.disabled

    def test_none_are_left_when_nobody_enables_them(self, kernel: Core) -> None:
        kernel.run_task("pm", kernel.helpers.disable)
        assert self.wait(kernel, 3 * kernel.clock.hz) == 0


def test_a_program_without_arguments_is_refused_with_a_warning(kernel: Core, world: World) -> None:
    """kernel_execve() since v5.18: argv is NULL or empty."""
    guest = world.guest
    path, empty = guest.put(HELPER.encode()), guest.words(0)
    for argv in (0, empty):
        assert guest.call_int("call_usermodehelper", path, argv, 0, UMH_WAIT_PROC) == -EINVAL
    assert [(warning.file, warning.line) for warning in kernel.warnings] == [("fs/exec.c", 2024)]
