"""The kernel's selftests of system calls: ``python -m tests.real.selftests LINUX [NAME...]``.

LINUX is the source tree of the kernel that tools/release names, as linux-source-6.1 unpacks it. Programs of
its tools/testing/selftests that need no hardware are linked statically; each is run in a fresh copy of one
machine. Its exit status and the lines of its results are compared with the real kernel's, which are kept in
tests/golden; at the end is a table of the programs that differ, with the reasons. The exit status is 1 if a
program without a known reason differs.

``--record`` asks the real kernel again, under QEMU, and keeps what it says. Without NAMEs it is all of
PROGRAMS.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from tests import golden
from tests.kernel.image.conftest import in_a_copy
from tests.real import debian, guest, qemu

from ukmod.errors import UkmodError
from ukmod.kernel.api import Kernel
from ukmod.record import record

DIRECTORY = "tools/testing/selftests"
RECORDED = golden.DIRECTORY / "selftests.results"
PROGRAMS = """
breakpoints/breakpoint_test clone3/clone3 clone3/clone3_cap_checkpoint_restore clone3/clone3_clear_sighand
clone3/clone3_set_tid core/close_range_test exec/non-regular exec/null-argv exec/recursion-depth
filesystems/devpts_pts filesystems/epoll/epoll_wakeup_test futex/functional/futex_requeue
futex/functional/futex_requeue_pi futex/functional/futex_requeue_pi_mismatched_ops
futex/functional/futex_requeue_pi_signal_restart futex/functional/futex_wait
futex/functional/futex_wait_private_mapped_file futex/functional/futex_wait_timeout
futex/functional/futex_wait_uninitialized_heap futex/functional/futex_wait_wouldblock
futex/functional/futex_waitv ipc/msgque kcmp/kcmp_test landlock/base_test landlock/fs_test
landlock/ptrace_test membarrier/membarrier_test_multi_thread membarrier/membarrier_test_single_thread
memfd/memfd_test mincore/mincore_selftest mount/nosymfollow-test mount/unprivileged-remount-test
mount_setattr/mount_setattr_test mqueue/mq_open_tests net/af_unix/diag_uid net/af_unix/test_unix_oob
net/af_unix/unix_connect net/psock_tpacket net/reuseaddr_conflict net/reuseaddr_ports_exhausted
net/reuseport_addr_any net/reuseport_bpf net/reuseport_bpf_cpu net/reuseport_dualstack
net/sk_bind_sendto_listen net/sk_connect_zero_addr net/so_netns_cookie net/socket net/tap
net/tcp_fastopen_backup_key net/tun nsfs/owner nsfs/pidns openat2/openat2_test openat2/resolve_test
pid_namespace/regression_enomem pidfd/pidfd_fdinfo_test pidfd/pidfd_getfd_test pidfd/pidfd_open_test
pidfd/pidfd_poll_test pidfd/pidfd_setns_test pidfd/pidfd_test pidfd/pidfd_wait prctl/disable-tsc-test
proc/fd-001-lookup proc/fd-002-posix-eq proc/fd-003-kthread proc/proc-fsconfig-hidepid proc/proc-loadavg-001
proc/proc-multiple-procfs proc/proc-pid-vm proc/proc-self-map-files-001 proc/proc-self-map-files-002
proc/proc-self-syscall proc/proc-self-wchan proc/proc-subset-pid proc/proc-tid0 proc/proc-uptime-001
proc/proc-uptime-002 proc/read proc/self proc/setns-dcache proc/setns-sysvipc proc/thread-self
ptrace/get_syscall_info ptrace/peeksiginfo ptrace/vmaccess rlimits/rlimits-per-userns
rseq/basic_percpu_ops_test rseq/basic_test sched/cs_prctl_test seccomp/seccomp_bpf sigaltstack/sas
splice/default_file_splice_read syscall_user_dispatch/sud_test timens/clock_nanosleep timens/exec timens/futex
timens/procfs timens/timens timens/timer timens/timerfd timers/mqueue-lat timers/nanosleep timers/nsleep-lat
timers/posix_timers timers/set-2038 timers/set-tai timers/set-timer-lat timers/set-tz timers/threadtest
tmpfs/bug-link-o-tmpfile uevent/uevent_filtering vDSO/vdso_test_abi vDSO/vdso_test_clock_getres
vDSO/vdso_test_getcpu vDSO/vdso_test_gettimeofday vm/madv_populate vm/map_fixed_noreplace vm/map_populate
vm/memfd_secret vm/mlock-random-test vm/mlock2-tests vm/mremap_dontunmap vm/mremap_test vm/mrelease_test
vm/on-fault-limit vm/soft-dirty
""".split()  # noqa: SIM905 - the table is easier to read, and to add to, as text
BESIDE = {
    "memfd/memfd_test": "common.c",
    "openat2/": "helpers.c",
    "rseq/": "rseq.c",
    "vDSO/vdso_test_abi": "parse_vdso.c",
    "vDSO/vdso_test_get": "parse_vdso.c",
    "vm/madv_populate": "vm_util.c",
    "vm/soft-dirty": "vm_util.c",
}
"""The beginnings of programs' names that are linked with another file of their directory."""
OPTIONS = ("-O2", "-w", "-s", "-static", "-D_GNU_SOURCE")
LIBRARIES = ("-lpthread", "-lrt", "-lcap")
_NO_TMPFS = "recorded when /tmp was no tmpfs under QEMU, as it is here"
REASONS: Mapping[str, str] = {
    "breakpoints/breakpoint_test": "no debug register stops a program in ring 3",
    "filesystems/epoll/epoll_wakeup_test": "under QEMU it takes longer than GUEST_SECONDS",
    "mincore/mincore_selftest": _NO_TMPFS,
    "net/af_unix/test_unix_oob": "it waits for ever, and is killed under QEMU; here that takes over PATIENCE",
    "openat2/resolve_test": _NO_TMPFS,
    "pidfd/pidfd_test": "its last case makes 33,000 processes, one after the other: over PATIENCE",
    "rseq/basic_percpu_ops_test": "200 threads count in loops: over PATIENCE",
    "timers/posix_timers": "it computes for seconds of the CPU's time: over PATIENCE",
    "timers/threadtest": "eight threads read the clock for 30 seconds: over PATIENCE",
}
"""Why a program does not end as on the real kernel."""
SECONDS = 60
"""What a program may take, of the guest's virtual time."""
GUEST_SECONDS = 600.0
"""Wall time for a program under QEMU."""
PATIENCE = 200.0
MEMORY = 512
"""Of the guest, in MiB: it holds all the programs."""
TMPFS = "mount -t tmpfs tmpfs /tmp\n"
"""What /tmp is in a machine of ours."""
AT_ONCE = 8
"""How many programs one machine under QEMU runs, one after the other."""
_END = re.compile(r"(.*?)\n@@(\d+)\n", re.DOTALL)
_PID = re.compile(r"(?<=ok \d )\[\d+\]|(?<=ok \d\d )\[\d+\]|(?<=/proc/)\d+|(?<=expected \()\d+")
_RESULT = re.compile(
    r"ok\b|not ok\b|Bail out!|\d+\.\.\d+$|# Totals:|.*\[ *(OK|FAIL|PASS|SKIP|FAILED|PASSED) *\]"
)


@record
class Outcome:
    """A program's exit status, "" if it has not ended, and the lines of its output that are results."""

    status: str
    results: tuple[str, ...]


NO_END = Outcome("", ())
HEADER = f"""# Programs of tools/testing/selftests: what their exit status and results were.
# What Linux {golden.RELEASE} did, on one CPU under QEMU; no status: it did not end.
# Remade by: python -m tests.real.selftests LINUX --record"""


def build(linux: Path, name: str, directory: Path) -> Path:
    """Compile a program, unless that has been done. Raises CalledProcessError."""
    program = directory / name.replace("/", ".")
    if program.exists():
        return program
    tests = linux / DIRECTORY
    source = tests / f"{name}.c"
    folders = (tests, source.parent, source.parent.parent / "include")
    include = [word for folder in folders for word in ("-I", folder)]
    include += ["-idirafter", tests.parent.parent / "include"]
    sources = [source, *(source.with_name(file) for of, file in BESIDE.items() if name.startswith(of))]
    subprocess.run(["gcc", *OPTIONS, *include, "-o", program, *sources, *LIBRARIES], check=True)
    return program


def script(program: Path) -> str:
    """Runs a program, as a line of the guest's shell."""
    run = f"timeout -s KILL {SECONDS} /bin/{program.name} >/tmp/out 2>&1 </dev/null"
    return f"cd /tmp; {run}; status=$?; cat /tmp/out; echo; echo @@$status\n"


def outcomes(text: str) -> list[Outcome]:
    """What the output of scripts says of their programs; one that has not ended is left out."""
    found = []
    for said, status in _END.findall(text.replace("\r", "")):
        lines = (_PID.sub("<pid>", line.strip().removeprefix("# ")) for line in said.splitlines())
        found.append(Outcome(status, tuple(line for line in lines if _RESULT.match(line))))
    return found


def really(programs: Sequence[Path], machine: qemu.Guest) -> Iterator[Outcome]:
    """What each program does on the real kernel: as many in a machine as it lives through."""
    left = list(programs)
    while left:
        script_of_some = guest.PRELUDE + TMPFS + "".join(map(script, left[:AT_ONCE]))
        found = outcomes(machine.run(script_of_some, seconds=GUEST_SECONDS).text) or [NO_END]
        yield from found
        del left[: len(found)]


def here(programs: Sequence[Path], kernel: debian.Debian) -> Iterator[Outcome]:
    """What each does in a copy of a machine of ours."""
    with Kernel(image=kernel.vmlinuz, patience=PATIENCE) as k:
        k.put(shutil.which("busybox") or "/bin/busybox", "/bin/busybox")
        for name in ("sh", "timeout", "cat", "sleep"):
            k.process.symlink("busybox", f"/bin/{name}")
        for program in programs:
            found = outcomes(in_a_copy(k, partial(run, k, program)))
            yield found[0] if found else NO_END


def run(k: Kernel, program: Path) -> str:
    """What a program's script writes in this machine; what is wrong if it does not end."""
    k.put(program, f"/bin/{program.name}")
    try:
        done = k.exec(["/bin/sh", "-c", script(program)], timeout=2 * SECONDS)
    except (UkmodError, OSError) as error:
        return f"{type(error).__name__}: {error}\n"
    return done.stdout.decode(errors="replace")


def load() -> dict[str, Outcome]:
    """What is recorded of the real kernel."""
    found = {}
    _, *blocks = RECORDED.read_text().split("\n\n") if RECORDED.exists() else [""]
    for block in blocks:
        head, *results = block.splitlines()
        name, _, status = head.partition(" ")
        found[name] = Outcome(status, tuple(results))
    return found


def store(outcomes: Mapping[str, Outcome]) -> None:
    """Record what the real kernel does."""
    blocks = (
        "\n".join((f"{name} {it.status}", *it.results)) for name, it in sorted(outcomes.items())
    )  # fmt: skip
    RECORDED.write_text("\n\n".join((HEADER, *blocks)) + "\n")


def main(argv: Sequence[str]) -> int:
    """Build the programs, then record or compare."""
    parser = argparse.ArgumentParser(prog="python -m tests.real.selftests", description=__doc__)
    parser.add_argument("linux", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--record", action="store_true")
    options = parser.parse_intermixed_args(argv)
    kernel = debian.require("qemu-system-x86_64", "busybox", "cpio")
    directory = golden.REPOSITORY / ".cache" / "selftests" / golden.RELEASE
    directory.mkdir(parents=True, exist_ok=True)
    names = options.names or PROGRAMS
    programs = [build(options.linux, name, directory) for name in names]
    if options.record:
        every = sorted(directory.glob("*.*"))
        machine = qemu.boot(kernel, [], directory / "guests", programs=every, memory=MEMORY)
        for name, real in zip(names, really(programs, machine), strict=True):
            store({**load(), name: real})
        return 0
    return report(dict(zip(names, here(programs, kernel), strict=True)))


def report(found: Mapping[str, Outcome]) -> int:
    """Print the differences; returns the exit status."""
    recorded = load()
    different = [name for name, mine in found.items() if mine != recorded[name]]
    for name in different:
        real, mine = recorded[name], found[name]
        lines = [f"  {side}{line}" for side, one, other in (("-", real, mine), ("+", mine, real))
                 for line in (f"exit status {one.status or 'none'}", *one.results)
                 if line not in (f"exit status {other.status or 'none'}", *other.results)]  # fmt: skip
        sys.stdout.write("\n".join((f"{name}: {REASONS.get(name, 'unknown')}", *lines)) + "\n")
    sys.stdout.write(f"{len(found) - len(different)} of {len(found)} are the same\n")
    return 1 if any(name not in REASONS for name in different) else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
