"""The kernel's selftests of system calls: ``python -m tests.real.selftests LINUX [NAME...]``.

LINUX is the source tree of the kernel. Programs of its tools/testing/selftests that need nothing but gcc are
linked statically and run twice: on the real kernel under QEMU, and here, each in a fresh machine. Those whose
exit statuses differ are printed, with the end of both outputs. Without NAMEs it is all of PROGRAMS. The exit
status is 1 if any differs.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.golden import RELEASE
from tests.real import debian, guest, qemu

from ukmod.errors import UkmodError
from ukmod.kernel.api import Kernel
from ukmod.record import record

DIRECTORY = "tools/testing/selftests"
PROGRAMS = """
clone3/clone3_clear_sighand clone3/clone3_set_tid core/close_range_test exec/non-regular exec/recursion-depth
filesystems/epoll/epoll_wakeup_test futex/functional/futex_requeue futex/functional/futex_requeue_pi
futex/functional/futex_requeue_pi_mismatched_ops futex/functional/futex_requeue_pi_signal_restart
futex/functional/futex_wait futex/functional/futex_wait_private_mapped_file
futex/functional/futex_wait_timeout futex/functional/futex_wait_uninitialized_heap
futex/functional/futex_wait_wouldblock futex/functional/futex_waitv ipc/msgque kcmp/kcmp_test
membarrier/membarrier_test_multi_thread membarrier/membarrier_test_single_thread mincore/mincore_selftest
mount/unprivileged-remount-test mount_setattr/mount_setattr_test net/af_unix/unix_connect net/psock_tpacket
net/reuseaddr_conflict net/reuseport_bpf net/reuseport_dualstack net/socket net/tap
net/tcp_fastopen_backup_key nsfs/owner nsfs/pidns pidfd/pidfd_fdinfo_test pidfd/pidfd_getfd_test
pidfd/pidfd_open_test pidfd/pidfd_poll_test pidfd/pidfd_test pidfd/pidfd_wait proc/fd-001-lookup
proc/fd-002-posix-eq proc/fd-003-kthread proc/proc-loadavg-001 proc/proc-multiple-procfs proc/proc-pid-vm
proc/proc-self-syscall proc/proc-self-wchan proc/proc-uptime-001 proc/proc-uptime-002 proc/read proc/self
proc/thread-self ptrace/get_syscall_info ptrace/peeksiginfo ptrace/vmaccess sigaltstack/sas
splice/default_file_splice_read timens/clock_nanosleep timens/timens timens/timerfd timers/mqueue-lat
timers/nanosleep timers/posix_timers timers/threadtest tmpfs/bug-link-o-tmpfile
""".split()  # noqa: SIM905 - the table is easier to read, and to add to, as text
OPTIONS = ("-O2", "-w", "-static", "-D_GNU_SOURCE")
SECONDS = 60
"""What a program may take: of the guest's time, which is virtual here and under QEMU."""
GUEST_SECONDS = 3600.0
"""Wall time for all of them under QEMU."""
MEMORY = 512
"""Of the guest, in MiB: it holds all the programs."""
_RESULT = re.compile(r"@@(\S+) (\d+)\n((?:(?!@@).*\n)*)")


@record
class Outcome:
    """A program's exit status and the last lines that it wrote; the status is "" if it has none."""

    status: str
    end: str


def build(linux: Path, name: str, directory: Path) -> Path:
    """Compile a program. Raises CalledProcessError."""
    tests = linux / DIRECTORY
    source = tests / f"{name}.c"
    program = directory / name.replace("/", ".")
    folders = (tests, source.parent, source.parent.parent / "include")
    include = [word for folder in folders for word in ("-I", folder)]
    include += ["-idirafter", tests.parent.parent / "include"]
    subprocess.run(["gcc", *OPTIONS, *include, "-o", program, source, "-lpthread", "-lrt"], check=True)
    return program


def really(programs: Sequence[Path], kernel: debian.Debian, cache: Path) -> Mapping[str, Outcome]:
    """What they do on the real kernel."""
    real = qemu.boot(kernel, [], cache, programs=programs, memory=MEMORY)
    script = guest.PRELUDE + "cd /tmp\n"
    for program in programs:
        script += f"timeout -s KILL {SECONDS} /bin/{program.name} >/tmp/out 2>&1 </dev/null\n"
        script += f"echo @@{program.name} $?; tail -n 3 /tmp/out\n"
    output = real.run(script, seconds=GUEST_SECONDS)
    return {name: Outcome(status, end) for name, status, end in _RESULT.findall(output.text)}


def here(program: Path, kernel: debian.Debian) -> Outcome:
    """What one does in a machine of its own."""
    path = f"/bin/{program.name}"
    with Kernel(image=kernel.vmlinuz) as k:
        k.put(program, path)
        try:
            done = k.exec([path], timeout=SECONDS)
        except (UkmodError, OSError) as error:
            return Outcome("", f"{error}\n")
        lines = (done.stdout + done.stderr).decode(errors="replace").splitlines(keepends=True)
        return Outcome(str(done.status), "".join(lines[-3:]))


def main(argv: Sequence[str]) -> int:
    """Build, run and compare."""
    parser = argparse.ArgumentParser(prog="python -m tests.real.selftests", description=__doc__)
    parser.add_argument("linux", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME")
    options = parser.parse_args(argv)
    kernel = debian.require("qemu-system-x86_64", "busybox", "cpio")
    directory = Path(__file__).parents[2] / ".cache" / "selftests" / RELEASE
    directory.mkdir(parents=True, exist_ok=True)
    programs = [build(options.linux, name, directory) for name in options.names or PROGRAMS]
    expected = really(programs, kernel, directory / "guests")
    same = 0
    for program in programs:
        real, mine = expected.get(program.name, Outcome("", "")), here(program, kernel)
        same += real.status == mine.status
        if real.status != mine.status:
            sys.stdout.write(f"{program.name}: {mine.status or 'no end'}, really {real.status or 'no end'}\n")
            sys.stdout.write(f"  here:\n{mine.end}  really:\n{real.end}")
            sys.stdout.flush()
    sys.stdout.write(f"{same} of {len(programs)} end alike\n")
    return 0 if same == len(programs) else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
