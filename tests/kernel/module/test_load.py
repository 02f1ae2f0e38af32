"""Modules come and go: what is left of them, what goes wrong on the way, and machines by the hundred."""

from __future__ import annotations

import re
import threading
from errno import EBUSY, EEXIST, EINVAL, ENOENT, EPERM
from typing import NoReturn

import pytest
from tests.elfwriter import Relocation, Section, Symbol
from tests.golden import modules as compiled
from tests.kernel.conftest import Guest, layouts
from tests.kernel.machine_code import RECURSE, Code
from tests.kernel.module.made import made

from ukmod.errors import KernelPanic, LoadError, PatienceError
from ukmod.kernel.api import Kernel
from ukmod.kernel.core import Core
from ukmod.kernel.module.load import load_module
from ukmod.kernel.module.main import ModuleState
from ukmod.kmod.modfile import ModuleFile
from ukmod.machine.relocate import R_PC32
from ukmod.userland import Process


def image(name: str) -> bytes:
    data: bytes = compiled()[name].read_bytes()
    return data


def test_machines_by_the_hundred_leave_no_threads() -> None:
    before = threading.active_count()
    for _ in range(100):
        with Kernel(types=layouts()) as k:
            k.insmod(image("ok_dep"))
    assert threading.active_count() == before


def test_two_machines_know_nothing_of_each_other() -> None:
    with Kernel(types=layouts()) as a, Kernel(types=layouts()) as b:
        a.insmod(image("exporter"))
        with pytest.raises(LoadError):
            b.insmod(image("uses_exporter"))
        a.insmod(image("uses_exporter"))
        assert (len(a.modules), len(b.modules)) == (2, 0)


class TestMisbehaviour:
    """Modules that do what no module may."""

    def test_a_loop_without_end_ends_with_the_callers_patience(self) -> None:
        with Kernel(types=layouts(), patience=0.5) as k:
            with pytest.raises(PatienceError, match=r"0.5 s of CPU time .* in endless_init") as end:
                k.insmod(image("endless"))
            assert end.value.function == "endless_init"
            assert "watchdog: BUG: lockup suspected - the guest has used 0.5 s of CPU time" in k.dmesg()
            assert "RIP: 0010:endless_init+" in k.dmesg()
            assert k.modules["endless"].state is ModuleState.COMING
            with pytest.raises(PatienceError):  # the machine has stopped
                k.insmod(image("ok_dep"))

    def test_unloading_with_a_thread_running(self, machine: Kernel) -> None:
        machine.insmod(image("thread_left"))
        machine.run(0.5)
        machine.rmmod("thread_left")
        machine.run(5)
        assert machine.oopses
        report = machine.oopses[0].text()
        assert "unable to handle page fault" in report
        assert "[last unloaded: thread_left" in report
        machine.insmod(image("ok_dep"))

    def test_recursion_without_end_is_the_end(self, kernel: Core) -> None:
        code = Code(kernel)
        with pytest.raises(KernelPanic):
            code.run(RECURSE)
        assert "stack guard page was hit" in kernel.oopses[0].text()
        with pytest.raises(KernelPanic):
            kernel.run(1)  # nothing runs any more

    def test_polling_without_end_lets_time_pass(self, kernel: Core) -> None:
        poll = kernel.cpu.stubs.add_function(lambda _: kernel.sched.schedule() or 0)
        task = kernel.run_task("poller", lambda: _for_ever(kernel, poll), limit=60)
        assert not task.exited
        assert kernel.run_task("other", lambda: 0).exited


def _for_ever(kernel: Core, function: int) -> NoReturn:
    while True:
        kernel.cpu.call(function)


class TestForbidden:
    """By the kernel's command line or a sysctl, whatever modprobe thinks of it."""

    @pytest.mark.parametrize(
        ("cmdline", "refused"),
        [
            ("module_blacklist=ok_dep", True),
            ("quiet module-blacklist=other,ok_dep,third panic=1", True),
            ("module_blacklist=other,ok_dep", True),
            ('module_blacklist="ok_dep"', True),
            ("module_blacklist=other module_blacklist=ok_dep", True),
            ("module_blacklist=ok_dep module_blacklist=other", False),
            ("module_blacklist=ok-dep", False),  # names are compared as they are
            ("module_blacklist=ok,ok_,ok_depp, ok_dep", False),
            ("module_blacklist=", False),
            ("module_blacklist ok_dep", False),
            ("-- module_blacklist=ok_dep", False),  # init's
            ("modprobe.blacklist=ok_dep", False),  # modprobe's, and it does not concern names
        ],
    )
    def test_a_module_of_the_kernels_blacklist_is_refused(self, cmdline: str, refused: bool) -> None:
        with Kernel(types=layouts(), cmdline=cmdline) as k:
            if not refused:
                k.insmod(image("ok_dep"))
                assert "blacklisted" not in k.dmesg()
                return
            with pytest.raises(LoadError, match="module_blacklist=") as error:
                k.insmod(image("ok_dep"))
            assert error.value.errno == EPERM
            assert k.dmesg().endswith("Module ok_dep is blacklisted\n")
            assert "ok_dep" not in k.modules
            k.insmod(image("exporter"))

    def test_a_module_cannot_do_without_a_blacklisted_dependency(self) -> None:
        with Kernel(tree=compiled()["exporter"].parent, image=None, cmdline="module_blacklist=exporter") as k:
            assert k.modprobe("uses_exporter", check=False).status == 1
            assert "Module exporter is blacklisted" in k.dmesg()
            assert not len(k.modules)

    def test_no_module_is_loaded_once_modules_are_disabled(self, machine: Kernel) -> None:
        machine.sysctl("kernel.modules_disabled", "1")
        with pytest.raises(LoadError, match=r"kernel\.modules_disabled") as error:
            machine.insmod(image("ok_dep"))
        assert error.value.errno == EPERM


class Watcher:
    """A module notifier that records each call, and returns the answer that the test gives it."""

    def __init__(self, machine: Kernel) -> None:
        self.machine, self.answers = machine, dict[ModuleState, int]()
        self.seen: list[tuple[str, ModuleState, ModuleState]] = []
        """The module, what is said of it, and the state in its struct at that time."""
        guest = Guest(machine.core)
        block = guest.put(b"", machine.core.types.sizeof("notifier_block"))
        at = block + machine.core.types.offset("notifier_block", "notifier_call")
        machine.core.memory.set_u64(at, guest.python(self.call, 3))
        guest.call("register_module_notifier", block)

    def call(self, _block: int, event: int, address: int) -> int:
        module = self.machine.core.modules.at(address)
        assert module is not None
        state = address + self.machine.core.types.offset("module", "state")
        now = ModuleState(self.machine.core.memory.u32(state))
        assert module.state is now
        self.seen.append((module.name, ModuleState(event), now))
        return self.answers.get(ModuleState(event), 0)


class TestUndone:
    """What was done for a module until it is refused is taken back: the error paths of load_module()."""

    LIVE, COMING, GOING = ModuleState.LIVE, ModuleState.COMING, ModuleState.GOING

    @pytest.fixture
    def watcher(self, ok_dep: object, machine: Kernel) -> Watcher:
        """In a machine in which a module has been loaded."""
        del ok_dep
        return Watcher(machine)

    def refused(self, machine: Kernel, name: str, params: str = "", *, why: str = "") -> int | None:
        with pytest.raises(LoadError, match=f"^{name}: {why}") as error:
            machine.insmod(image(name), params)
        assert list(machine.modules) == ["ok_dep"]
        assert not machine.leaks()
        return error.value.errno

    def test_notifiers_see_each_state_of_a_module_that_lives(self, machine: Kernel, watcher: Watcher) -> None:
        machine.insmod(image("exporter"))
        machine.rmmod("exporter")
        assert watcher.seen == [("exporter", state, state) for state in (self.COMING, self.LIVE, self.GOING)]

    def test_notifiers_hear_that_a_module_with_a_wrong_parameter_goes(
        self, machine: Kernel, watcher: Watcher
    ) -> None:
        assert self.refused(machine, "params", "an_int=x", why="invalid parameters 'an_int=x'") == EINVAL
        assert watcher.seen == [("params", state, state) for state in (self.COMING, self.GOING)]

    def test_a_string_parameter_is_freed_if_a_later_one_is_wrong(
        self, machine: Kernel, watcher: Watcher
    ) -> None:
        del watcher
        assert self.refused(machine, "params", "a_charp=kept an_int=x") == EINVAL

    @pytest.mark.parametrize(("answer", "errno"), [(0x8000 | 1 + EPERM, EPERM), (0x8000 | 1 + EBUSY, EBUSY)])
    def test_a_notifier_may_refuse_a_module_and_those_before_it_hear_of_that(
        self, machine: Kernel, watcher: Watcher, answer: int, errno: int
    ) -> None:
        """notifier_from_errno()."""
        late = Watcher(machine)
        late.answers[self.COMING] = answer
        assert self.refused(machine, "exporter", why="a module notifier refused it") == errno
        assert [event for _, event, _ in watcher.seen] == [self.COMING, self.GOING]
        assert [event for _, event, _ in late.seen] == [self.COMING]

    def test_an_error_without_the_flag_to_stop_refuses_the_module(
        self, machine: Kernel, watcher: Watcher
    ) -> None:
        """notifier_to_errno() does not look at NOTIFY_STOP_MASK. The notifiers before hear of nothing."""
        late = Watcher(machine)
        late.answers[self.COMING] = 1 + EPERM
        assert self.refused(machine, "exporter") == EPERM
        assert [event for _, event, _ in watcher.seen] == [self.COMING]

    @pytest.mark.parametrize("answer", [0x8000, 0x8001, 1, -EBUSY])
    def test_a_notifier_that_reports_no_error_refuses_nothing(
        self, machine: Kernel, watcher: Watcher, answer: int
    ) -> None:
        """NOTIFY_STOP and NOTIFY_OK; and a bare errno is none, whatever its author meant."""
        watcher.answers[self.COMING] = answer
        assert machine.insmod(image("exporter")).state is self.LIVE

    def test_a_module_cannot_use_one_that_is_going(self, machine: Kernel, watcher: Watcher) -> None:
        del watcher
        exporter = machine.insmod(image("exporter"))
        machine.core.modules.set_state(exporter, self.GOING)
        with pytest.raises(LoadError, match="unknown symbol") as error:
            machine.insmod(image("uses_exporter"))
        assert error.value.errno == ENOENT
        assert "gave up waiting" not in machine.dmesg()

    @pytest.mark.parametrize("answer", [0, 0x8000 | 1 + EPERM])
    def test_a_refused_module_uses_no_other_any_more(
        self, machine: Kernel, watcher: Watcher, answer: int
    ) -> None:
        exporter = machine.insmod(image("exporter"))
        watcher.answers[self.COMING] = answer
        if answer:
            with pytest.raises(LoadError):
                machine.insmod(image("uses_exporter"))
        else:
            machine.insmod(image("uses_exporter"))
        assert [user.name for user in exporter.users] == ([] if answer else ["uses_exporter"])
        assert machine.core.modules.refcount(exporter) == (0 if answer else 1)


def returning(result: int) -> bytes:
    """mov $result,%eax; ret"""
    return b"\xb8" + (result & 0xFFFF_FFFF).to_bytes(4, "little") + b"\xc3"


class TestInit:
    """do_init_module(), do_one_initcall()."""

    @pytest.mark.parametrize("result", [-1, -EINVAL, -4095])
    def test_a_negative_result_is_the_errno_and_the_end_of_the_module(
        self, machine: Kernel, result: int
    ) -> None:
        machine.insmod(made(name="other"))
        watcher = Watcher(machine)
        with pytest.raises(LoadError) as error:
            machine.insmod(made(init=returning(result)))
        assert (error.value.errno, error.value.subject) == (-result, "m")
        assert "init function" in error.value.message
        assert list(machine.modules) == ["other"]
        assert [state for _, _, state in watcher.seen] == [ModuleState.COMING, ModuleState.GOING]
        machine.insmod(made())

    @pytest.mark.parametrize("result", [0, 1, 0x7FFF_FFFF])
    def test_any_other_result_lets_the_module_live_but_only_0_is_right(
        self, machine: Kernel, result: int
    ) -> None:
        assert machine.insmod(made(init=returning(result))).state is ModuleState.LIVE
        text = f"do_init_module: 'm'->init suspiciously returned {result}, it should follow 0/-E convention"
        assert (text in machine.dmesg()) == bool(result)
        assert ("do_init_module: loading module anyway..." in machine.dmesg()) == bool(result)
        assert ("Call Trace:" in machine.dmesg()) == bool(result)

    def test_an_init_function_that_leaves_preemption_disabled_is_warned_of(self, machine: Kernel) -> None:
        count_512 = b"\xbe" + (512).to_bytes(4, "little")  # mov $512,%esi
        call = b"\xe8" + bytes(4)
        data = made(init=count_512 + call + returning(0), calls=((6, "__local_bh_disable_ip"),))
        assert machine.insmod(data).state is ModuleState.LIVE
        (warning,) = machine.warnings
        assert (warning.file, warning.line) == ("init/main.c", 1284)
        assert str(warning.state.rip).startswith("do_one_initcall")
        text = r"initcall init_module\+0x0/0x\w+ \[m\] returned with preemption imbalance"
        assert re.fullmatch(text, warning.message.strip())
        assert machine.core.percpu.preempt_count() == 0
        machine.insmod(made(name="other"))
        assert len(machine.warnings) == 1, "the count is right again"

    @pytest.mark.parametrize(
        ("init", "detail"),
        [(returning(0), "init_module+0x0/0x1000 [m]"), (b"", "none")],
        ids=["init", "no init"],
    )
    def test_a_trace_has_the_init_function_and_that_the_module_lives(
        self, machine: Kernel, init: bytes, detail: str
    ) -> None:
        machine.insmod(made(name="other"))
        machine.core.trace.clear()
        machine.insmod(made(init=init))
        steps = [(step.comm, step.what, step.detail) for step in machine.core.trace.steps]
        assert steps == [("insmod", "init", detail), ("insmod", "init returns", "0"), ("insmod", "live", "m")]
        assert len({step.pid for step in machine.core.trace.steps} - {0}) == 1

    def test_the_task_is_the_modules_while_init_runs(self, machine: Kernel) -> None:
        """What it allocates and starts is then the module's."""
        machine.insmod(made(name="other"))
        task = machine.start("insmod", lambda core: load_module(core, ModuleFile.of(self.sleeping(1000)), ""))
        before = task.owner
        machine.run(0.5)
        assert task.owner == "e"
        machine.run(1)
        assert (task.exited, task.owner) == (True, before)

    def test_a_parameter_need_not_be_text(self, machine: Kernel) -> None:
        machine.insmod(image("params"), "a_charp=\udcff")
        assert machine.read("/sys/module/params/parameters/a_charp") == "\udcff\n"

    def sleeping(self, milliseconds: int) -> bytes:
        """The module ``e``, which exports ``f`` and whose init function sleeps before it returns 0."""
        duration = b"\xbf" + milliseconds.to_bytes(4, "little")  # mov $milliseconds,%edi
        call = b"\xe8" + bytes(4)
        sections = (Section("__ksymtab", bytes(12), align=4), Section("__ksymtab_strings", b"f\0"))
        return made(
            name="e",
            sections=sections,
            needs=(Symbol("name", "__ksymtab_strings"),),
            relocations=(
                Relocation("__ksymtab", 0, "own", R_PC32),
                Relocation("__ksymtab", 4, "name", R_PC32),
            ),
            init=duration + call + returning(0),
            calls=((6, "msleep"),),
        )

    def load_later(self, machine: Kernel, data: bytes) -> list[int | None]:
        """Have a process load a module; the list has the errno, or 0, when it has returned."""
        results: list[int | None] = []

        def work(core: Core) -> None:
            try:
                load_module(core, ModuleFile.of(data, "m.ko"), "")
            except LoadError as error:
                results.append(error.errno)
            else:
                results.append(0)

        machine.start("insmod", work)
        return results

    @pytest.mark.parametrize(("seconds", "found"), [(29, True), (31, False)])
    def test_a_symbol_of_a_module_that_is_coming_is_waited_for_for_half_a_minute(
        self, machine: Kernel, seconds: int, found: bool
    ) -> None:
        """resolve_symbol_wait(): 30 s."""
        machine.insmod(made(name="other"))
        first = self.load_later(machine, self.sleeping(1000 * seconds))
        user = self.load_later(machine, made(needs=(Symbol("f"),)))
        machine.run(28.9)
        assert (first, user) == ([], [])
        machine.run(1)
        assert user == ([0] if found else [])
        machine.run(5)
        assert user == [0 if found else EBUSY]
        assert ("m: gave up waiting for init of module e." in machine.dmesg()) is not found

    def test_a_module_of_the_same_name_waits_for_the_first(self, machine: Kernel) -> None:
        machine.insmod(made(name="other"))
        first, second = (self.load_later(machine, self.sleeping(2000)) for _ in range(2))
        machine.run(1.9)
        assert (first, second) == ([], [])
        assert re.search(
            r"^e \d+ 1 \[permanent\], Loading 0x", machine.read("/proc/modules"), re.MULTILINE
        ), "init holds it"
        machine.run(0.2)
        assert (first, second) == ([0], [EEXIST])
        assert re.search(r"^e \d+ 0 \[permanent\], Live 0x", machine.read("/proc/modules"), re.MULTILINE)


class TestInterModule:
    """inter_module_register() and its kin: BUG() for what was fatal in Linux 2.4."""

    def call(self, kernel: Core, name: str, *arguments: int) -> int:
        results: list[int] = []

        def entry() -> int:
            results.append(kernel.cpu.call(kernel.symbols.address(name), *arguments))
            return 0

        task = kernel.run_task("user", entry)
        return results[0] if results else -task.exit_code

    @pytest.fixture
    def text(self, kernel: Core) -> int:
        at = kernel.slab.kmalloc(16)
        kernel.memory.write(at, b"agp\0")
        return at

    def test_what_is_registered_is_found(self, kernel: Core, text: int) -> None:
        assert self.call(kernel, "inter_module_get", text) == 0
        self.call(kernel, "inter_module_register", text, 0, 0x1234)
        assert self.call(kernel, "inter_module_get", text) == 0x1234
        self.call(kernel, "inter_module_put", text)
        self.call(kernel, "inter_module_unregister", text)
        assert self.call(kernel, "inter_module_get", text) == 0

    def test_twice(self, kernel: Core, text: int) -> None:
        self.call(kernel, "inter_module_register", text, 0, 1)
        assert self.call(kernel, "inter_module_register", text, 0, 2) == -11
        assert "inter_module_register: duplicate im_name 'agp'" in kernel.log.dmesg()
        assert self.call(kernel, "inter_module_get", text) == 1

    @pytest.mark.parametrize("name", ["inter_module_unregister", "inter_module_put"])
    def test_never(self, kernel: Core, text: int, name: str) -> None:
        assert self.call(kernel, name, text) == -11
        assert f"{name}: no entry for 'agp'" in kernel.log.dmesg()
        assert "kernel BUG at" in kernel.oopses[0].text()

    def test_the_owner_cannot_go_while_it_is_used(self, machine: Kernel) -> None:
        module = machine.insmod(image("ok_dep"))
        core = machine.core
        at = core.slab.kmalloc(16)
        core.memory.write(at, b"agp\0")
        self.call(core, "inter_module_register", at, module.address, 7)
        assert self.call(core, "inter_module_get", at) == 7
        with pytest.raises(LoadError, match="in use"):
            machine.rmmod("ok_dep")
        self.call(core, "inter_module_put", at)
        machine.rmmod("ok_dep")


class TestHelpers:
    """usermodehelper_disable() and what request_module() makes of it."""

    def request(self, kernel: Kernel, name: str) -> int:
        results: list[int] = []
        kernel.start("asker", lambda core: results.append(core.requests.request(name)))
        kernel.run(10)
        return results[0]

    def test_disabled(self, machine: Kernel) -> None:
        asked: list[tuple[str, ...]] = []

        def modprobe(process: Process) -> int:
            asked.append(tuple(process.argv))
            return 0

        machine.install("/sbin/modprobe", modprobe)
        machine.core.run_task("pm", machine.core.helpers.disable)
        assert self.request(machine, "foo") == -16
        machine.core.helpers.enable()
        assert self.request(machine, "foo") == 0
        assert asked == [("/sbin/modprobe", "-q", "--", "foo")]

    def test_there_is_no_modprobe(self, machine: Kernel) -> None:
        machine.sysctl("kernel.modprobe", "/no/such")
        assert self.request(machine, "foo") == -2

    def test_a_modprobe_that_may_not_be_executed_is_eacces(self, machine: Kernel) -> None:
        machine.install("/sbin/modprobe", None)
        assert self.request(machine, "foo") == -13

    def test_switched_off(self, machine: Kernel) -> None:
        machine.sysctl("kernel.modprobe", "")
        assert self.request(machine, "foo") == -2

    @pytest.mark.parametrize("status", [1, 255])
    def test_the_wait_status_is_returned(self, machine: Kernel, status: int) -> None:
        machine.install("/sbin/modprobe", lambda _: status)
        assert self.request(machine, "foo") == status << 8

    @pytest.mark.parametrize(("length", "result"), [(55, 0), (56, -36)])
    def test_how_long_a_name_may_be(self, machine: Kernel, length: int, result: int) -> None:
        machine.install("/sbin/modprobe", lambda _: 0)
        assert self.request(machine, "x" * length) == result
