"""Functions of an image for time, tasks, signals, softirqs and deferred work, all of which Python keeps."""

from __future__ import annotations

from collections.abc import Iterator
from errno import EAGAIN
from itertools import islice
from typing import TYPE_CHECKING

from ukmod.kernel.export import export
from ukmod.kernel.panic import level_number
from ukmod.kernel.pid import PIDTYPE_PID
from ukmod.kernel.pid_namespace import find_pid_ns, task_active_pid_ns
from ukmod.kernel.rcu.rcu import call_rcu, synchronize_rcu
from ukmod.kernel.sched.core import MAX_SCHEDULE_TIMEOUT, TASK_RUNNING
from ukmod.kernel.sched.plug import flush_plug
from ukmod.kernel.workqueue.api import DelayedWork
from ukmod.kernel.workqueue.work import GuestWork
from ukmod.kernel.x86.unwind import walk_asleep, walk_trap
from ukmod.machine.abi import Bool, CStr, Int, Long, Ptr, SizeT, UInt, ULong

if TYPE_CHECKING:
    from ukmod.kernel.core import Core


@export("mach_get_cmos_time")
def mach_get_cmos_time(k: Core, now: Ptr) -> None:
    """void mach_get_cmos_time(struct timespec64 *now): 0, as there is no clock to ask.

    v5.10 would wait for ever until an absent clock has finished its update.
    """
    k.memory.write(now, bytes(k.types.sizeof("timespec64")))


@export()
def show_stack(k: Core, task: Ptr, sp: Ptr, level: CStr) -> None:
    """void show_stack(struct task_struct *task, unsigned long *sp, const char *loglvl)."""
    del sp
    shown = k.tasks.at(task) if task else k.sched.task()
    trace = walk_trap(k) if shown is k.sched.current else walk_asleep(k, shown)
    interrupt = k.sched.in_interrupt and shown is k.sched.current
    k.crash.show_trace(trace, level_number(level), interrupt=interrupt)


def _waits_in(k: Core, task: int) -> Iterator[int]:
    """Where a sleeping task is, innermost first, without the functions of the scheduler and of locks."""
    assert k.image is not None
    in_sched_functions = k.image.address("in_sched_functions")
    for frame in walk_asleep(k, k.tasks.at(task)).frames:
        if not k.cpu.call(in_sched_functions, frame.address):
            yield frame.address


@export()
def get_wchan(k: Core, task: Ptr) -> ULong:
    """unsigned long get_wchan(struct task_struct *p): /proc/PID/wchan."""
    shown = k.tasks.at(task)
    if shown is k.sched.current or k.tasks.state(shown) == TASK_RUNNING:
        return 0
    return next(_waits_in(k, task), 0)


@export()
def stack_trace_save_tsk(k: Core, task: Ptr, store: Ptr, size: UInt, skip: UInt) -> UInt:
    """unsigned int stack_trace_save_tsk(struct task_struct *, unsigned long *, unsigned int, unsigned int).

    /proc/PID/stack.
    """
    found = list(islice(_waits_in(k, task), skip, skip + size))
    k.memory.write(store, b"".join(address.to_bytes(8, "little") for address in found))
    return len(found)


@export("stop_machine", "stop_machine_cpuslocked")
def stop_machine(k: Core, function: Ptr, data: Ptr, cpus: Ptr) -> Int:
    """int stop_machine(cpu_stop_fn_t fn, void *data, const struct cpumask *cpus): there is only one CPU."""
    del cpus
    return k.cpu.call(function, data)


@export("stop_one_cpu")
def stop_one_cpu(k: Core, cpu: UInt, function: Ptr, data: Ptr) -> Int:
    """int stop_one_cpu(unsigned int cpu, cpu_stop_fn_t fn, void *arg)."""
    del cpu
    return k.cpu.call(function, data)


@export("try_to_wake_up")
def try_to_wake_up(k: Core, task: Ptr, state: UInt, flags: Int) -> Int:
    """int try_to_wake_up(struct task_struct *p, unsigned int state, int wake_flags)."""
    del flags
    return k.sched.wake(k.tasks.at(task), state)


@export("io_schedule", "schedule_preempt_disabled", "schedule_rtlock", "rt_mutex_schedule")
def io_schedule(k: Core) -> None:
    """void io_schedule(void)."""
    flush_plug(k, k.sched.task())
    count = k.percpu.preempt_count()
    k.percpu.set_preempt(0)
    k.sched.schedule()
    k.percpu.set_preempt(count)


@export()
def do_sched_yield(k: Core) -> None:
    """static void do_sched_yield(void): sched_yield(2)."""
    k.sched.schedule()


@export()
def io_schedule_timeout(k: Core, timeout: Long) -> Long:
    """long io_schedule_timeout(long timeout)."""
    flush_plug(k, k.sched.task())
    return k.sched.schedule_timeout(min(max(timeout, 0), MAX_SCHEDULE_TIMEOUT))


@export("set_cpus_allowed_ptr", "sched_setscheduler", "sched_setscheduler_nocheck", "sched_setattr",
        "sched_setattr_nocheck", "smpboot_register_percpu_thread", "set_cpus_allowed_common",
        "apply_workqueue_attrs", "workqueue_sysfs_register", "workqueue_set_unbound_cpumask",
        "kthread_blkcg", "kthread_associate_blkcg", "kthread_affine_preferred", "yield_to",
        "smpboot_unregister_percpu_thread", "sched_exec",
        "sched_autogroup_create_attach",
        "numa_set_distance", "set_memory_uc", "set_memory_wc", "set_memory_wb",
        "set_pages_uc", "set_pages_wb", "set_pages_array_uc", "set_pages_array_wc", "set_pages_array_wb",
        "set_direct_map_invalid_noflush", "set_direct_map_default_noflush")  # fmt: skip
def nothing_to_do(k: Core) -> Int:
    """Return 0 where CPUs, priorities, caching attributes or accounting would be set: they have no effect."""
    del k
    return 0


@export("kernel_thread", "user_mode_thread", "create_io_thread")
def kernel_thread(k: Core) -> Long:
    """pid_t kernel_thread(int (*fn)(void *), void *arg, ...): fails, as tasks are created by Python."""
    del k
    return -EAGAIN


@export()
def kernel_clone(k: Core, arguments: Ptr) -> Long:
    """pid_t kernel_clone(struct kernel_clone_args *args): fails, except for programs in ring 3."""
    thread = k.sched.task().thread
    if thread is None or k.image is None:
        return -EAGAIN
    from ukmod.kernel.user.fork import clone

    return clone(k, k.image, thread, arguments)


@export()
def find_task_by_pid_ns(k: Core, number: Int, namespace: Ptr) -> Ptr:
    """struct task_struct *find_task_by_pid_ns(pid_t nr, struct pid_namespace *ns)."""
    task = k.pids.task(find_pid_ns(k, number, namespace))
    return task.address if task is not None else 0


@export()
def find_task_by_vpid(k: Core, number: Int) -> Ptr:
    """struct task_struct *find_task_by_vpid(pid_t nr)."""
    return find_task_by_pid_ns(k, number, task_active_pid_ns(k, k.sched.task()))


@export()
def find_get_task_by_vpid(k: Core, number: Int) -> Ptr:
    """struct task_struct *find_get_task_by_vpid(pid_t nr): with a reference."""
    if address := find_task_by_vpid(k, number):
        k.tasks.get(k.tasks.at(address))
    return address


@export()
def kernel_wait4(k: Core, pid: Int, status: Ptr, options: UInt, usage: Ptr) -> Long:
    """long kernel_wait4(pid_t upid, int __user *stat_addr, int options, struct rusage *ru)."""
    from ukmod.kernel.user.wait import wait4

    _no_usage(k, usage)
    return wait4(k, k.sched.task().thread, pid, status, options)


@export()
def kernel_waitid(k: Core, which: Int, pid: Int, info: Ptr, options: UInt, usage: Ptr) -> Long:
    """long kernel_waitid(int which, pid_t upid, struct waitid_info *, int options, struct rusage *ru)."""
    from ukmod.kernel.user.wait import waitid

    _no_usage(k, usage)
    return waitid(k, k.sched.task().thread, which, pid, info, options)


@export("__wake_up_parent")
def wake_up_parent(k: Core, child: Ptr, parent: Ptr) -> None:
    """void __wake_up_parent(struct task_struct *p, struct task_struct *parent): from wait4() and waitid()."""
    del child
    if (thread := k.tasks.at(parent).thread) is not None:
        thread.children.wake_all()


@export()
def release_task(k: Core, task: Ptr) -> None:
    """void release_task(struct task_struct *p): of a leader, one of whose threads executes a program."""
    from ukmod.kernel.user.exit import release_leader

    release_leader(k, k.tasks.at(task))


def _no_usage(k: Core, usage: int) -> None:
    if usage:
        k.memory.write(usage, bytes(k.types.sizeof("rusage")))


@export()
def wq_worker_comm(k: Core, buffer: Ptr, size: SizeT, task: Ptr) -> None:
    """void wq_worker_comm(char *buf, size_t size, struct task_struct *task): a worker's comm, as in /proc."""
    name = k.tasks.comm(k.tasks.at(task)).encode("latin-1")[: size - 1]
    k.memory.write(buffer, name + b"\0")


@export()
def do_send_sig_info(k: Core, signal: Int, info: Ptr, task: Ptr, kind: UInt) -> Int:
    """int do_send_sig_info(int sig, struct kernel_siginfo *info, struct task_struct *p, enum pid_type)."""
    return k.signals.send_info(k.tasks.at(task), signal, info, to_thread=kind == PIDTYPE_PID)


@export("__send_signal_locked", "__send_signal")
def send_signal_locked(k: Core, signal: Int, info: Ptr, task: Ptr, kind: UInt, force: Bool) -> Int:
    """int __send_signal_locked(int sig, siginfo *, struct task_struct *, enum pid_type, bool force).

    Whether a signal is forced follows from its siginfo.
    """
    del force
    return k.signals.send_info(k.tasks.at(task), signal, info, to_thread=kind == PIDTYPE_PID)


@export("raise_softirq", "raise_softirq_irqoff", "__raise_softirq_irqoff")
def raise_softirq(k: Core, number: UInt) -> None:
    """void raise_softirq(unsigned int nr)."""
    if k.image is not None and (vector := k.image.get("softirq_vec")) is not None and number < 10:
        at = vector + 8 * number
        k.softirqs.raise_(number, lambda: k.memory.u64(at) and k.cpu.call(k.memory.u64(at), at))


@export("__queue_work")
def queue_work(k: Core, cpu: Int, wq: Ptr, work: Ptr) -> None:
    """void __queue_work(int cpu, struct workqueue_struct *wq, struct work_struct *work)."""
    del cpu
    k.workqueues.insert(k.workqueues.at(wq), GuestWork(k, work))


@export("__flush_work")
def flush_work(k: Core, work: Ptr, from_cancel: Bool) -> Bool:
    """bool __flush_work(struct work_struct *work, bool from_cancel)."""
    return k.workqueues.flush(GuestWork(k, work), cancel=from_cancel)


@export("__queue_delayed_work")
def queue_delayed_work(k: Core, cpu: Int, wq: Ptr, dwork: Ptr, delay: ULong) -> None:
    """void __queue_delayed_work(int cpu, wq, struct delayed_work *dwork, unsigned long delay)."""
    del cpu
    DelayedWork(k, dwork).start(k.workqueues.at(wq), delay)


@export("call_rcu_tasks", "call_rcu_tasks_rude", "call_rcu_tasks_trace", "call_rcu_hurry")
def call_rcu_tasks(k: Core, head: Ptr, function: Ptr) -> None:
    """void call_rcu_tasks(struct rcu_head *rhp, rcu_callback_t func)."""
    call_rcu(k, head, function)


@export("synchronize_rcu_tasks_rude", "synchronize_rcu_tasks_trace", "rcu_barrier_tasks",
        "rcu_barrier_tasks_rude", "rcu_barrier_tasks_trace", "kvfree_rcu_barrier", "__kvfree_rcu_barrier",
        "kvfree_rcu_barrier_on_cache")  # fmt: skip
def synchronize_rcu_tasks(k: Core) -> None:
    """void synchronize_rcu_tasks_rude(void)."""
    synchronize_rcu(k)
