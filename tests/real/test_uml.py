"""Our tools serve a real kernel, which calls our modprobe when it wants a module.

Each scene is a shell script. It runs twice in one guest, with kmod's C tools and with ours in $PATH and as
/proc/sys/kernel/modprobe; status, output and the modules that are loaded afterwards have to be the same, and
to be what the scene says, so that a guest in which nothing works cannot pass.
"""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.real import uml
from tests.real.debian import REPOSITORY

from ukmod.cli.tools import link_tools

pytestmark = [
    pytest.mark.real,
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.xdist_group("uml"),  # one process boots the guest for all of these tests
]

CONFIG = """\
options dummy numdummies=2
options brd rd_nr=1 rd_size=512
blacklist x25
blacklist slip
install minix echo instead of minix: $CMDLINE_OPTS
alias my-alias dummy
softdep brd post: crc7
"""
COMMAND_LINE = "dummy.numdummies=3 modprobe.blacklist=eql,appletalk"


@dataclass(frozen=True)
class Scene:
    """``script`` ends with this ``status`` and leaves these modules ``loaded``; ``says`` is in its output.

    ``as_kmod_30`` is False where our model, kmod 34, mends what Debian 12's does: there they may differ.
    """

    name: str
    script: str
    loaded: frozenset[str]
    status: int = 0
    says: str = ""
    as_kmod_30: bool = True


def scene(
    name: str, script: str, *loaded: str, status: int = 0, says: str = "", as_kmod_30: bool = True
) -> Scene:
    return Scene(name, script, frozenset(loaded), status, says, as_kmod_30)


def python(code: str) -> str:
    return f"{shlex.quote(sys.executable)} -I -S -c {shlex.quote(code)}"


PPP = ("ppp_async", "ppp_generic", "slhc", "crc_ccitt")
SOCKET = "import _socket; _socket.socket({})"
HASH = "import _socket; _socket.socket(38, 5).bind(('{}', '{}'))"  # AF_ALG, SOCK_SEQPACKET
DISCIPLINE = (
    "import fcntl, os, struct; fcntl.ioctl(os.openpty()[1], 0x5423, struct.pack('i', {}))"  # TIOCSETD
)
CRC8 = "/lib/modules/*/kernel/lib/crc8.ko"
PPP_ASYNC = "/lib/modules/*/kernel/drivers/net/ppp/ppp_async.ko"
# It does not sleep: user-mode-linux sometimes misses the timer that would wake an idle machine.
HOLD = python(
    "import _socket, time; held = _socket.socket(38, 5); until = time.monotonic() + {}\n"
    "while time.monotonic() < until: pass"
)

TRIGGERS = (
    scene("a socket family", python(SOCKET.format("29, 3, 1")), "can", "can_raw"),
    scene("a socket family that is blacklisted", python(SOCKET.format("9, 5")), status=1),
    scene("one blacklisted on the command line", python(SOCKET.format("5, 2")), status=1),
    scene("a netlink family", python(SOCKET.format("16, 3, 21")), "crypto_user"),
    scene("a file system", "mount -t udf none /run", "udf", "crc_itu_t", "cdrom", status=32),
    scene("one with a soft dependency", "mount -t f2fs none /run", "f2fs", "crc32_generic", status=32),
    scene("one with an install command", "mount -t minix none /run", status=32),
    scene("an algorithm", python(HASH.format("hash", "wp512")), "af_alg", "algif_hash", "wp512"),
    scene("a template", python(HASH.format("hash", "hmac(wp512)")), "af_alg", "algif_hash", "hmac", "wp512"),
    scene("an algorithm nobody has", python(HASH.format("hash", "nosuch")), "af_alg", "algif_hash", status=1),
    scene("a line discipline", python(DISCIPLINE.format(3)), *PPP),
    scene("one that is blacklisted", python(DISCIPLINE.format(1)), status=1),
    scene("a kind of link", "ip link add type dummy && ip -o link | grep -c dummy", "dummy", says="4"),
    scene("a kind of link nobody has", "ip link add type nosuch", status=2),
)

LOADING = (
    scene(
        "options of configuration, command line and call",
        "modprobe -v dummy numdummies=1; ip -o link | grep -c dummy",
        "dummy",
        says="numdummies=2 numdummies=3 numdummies=1",
    ),
    scene("an alias of the configuration", "modprobe -v my-alias", "dummy", says="dummy.ko"),
    scene(
        "a soft dependency afterwards",
        "modprobe -v brd; cat /sys/module/brd/parameters/rd_size",
        *("brd", "crc7"),
        says="512",
    ),
    scene("twice", "modprobe slhc; modprobe slhc; modprobe --first-time slhc", "slhc", status=1),
    scene("a parameter that is none", "modprobe eql nosuch=1; dmesg -t", "eql", says="unknown parameter"),
    scene("several", "modprobe -a dummy nosuch crc8", "dummy", "crc8", status=1),
    scene("what would be done", "modprobe -n -v ppp_async; modprobe -D udf", says="crc-itu-t.ko"),
    scene("what an alias stands for", "modprobe -R net-pf-24-proto-2", says="pptp"),
    scene("the configuration", "modprobe -c | grep -v ^alias | sort", says="blacklist eql"),
    scene("blacklisted by name", "modprobe -b slip; modprobe slip", "slip", "slhc"),
    scene(
        "an install command",
        "modprobe minix a=1; modprobe -i minix",
        "minix",
        says="instead of minix: a=1",
    ),
    scene("what is not there", "modprobe nosuch", status=1, says="not found in directory"),
    scene("insmod", f"insmod {CRC8}; insmod {CRC8}", "crc8", status=1, says="File exists"),
    scene("insmod without dependencies", f"insmod {PPP_ASYNC}", status=1, says="Unknown symbol"),
    scene("lsmod", "modprobe ppp_async; modprobe udf; lsmod", *PPP, "udf", "crc_itu_t", "cdrom", says="udf"),
    scene("modinfo", "modinfo udf net-pf-29; modinfo -F depends udf; modinfo ext4", says="(builtin)"),
    scene("exported symbols", "modprobe --show-exports /lib/modules/*/kernel/drivers/net/slip/slhc.ko"),
)

REMOVING = (
    scene(
        "rmmod",
        "modprobe ppp_async; rmmod slhc; rmmod ppp_async nosuch",
        *("ppp_generic", "slhc", "crc_ccitt"),
        status=1,
        says="is in use by: ppp_generic",
    ),
    # kmod leaves slhc: ppp_generic held it when it was looked at.
    scene(
        "what is unused then", "modprobe ppp_async; modprobe -rv ppp_async", "slhc", says="rmmod ppp_async"
    ),
    scene("what is in use", "modprobe ppp_async; modprobe -r slhc", *PPP, status=1, says="in use"),
    scene(  # kmod 30 removes the module that was asked for a second time, and fails
        "holders",
        "modprobe udf; modprobe -rv --remove-holders crc-itu-t",
        says="rmmod udf",
        as_kmod_30=False,
    ),
    scene("soft dependencies", "modprobe brd; modprobe -rv brd", says="rmmod crc7"),
    scene("what is not loaded", "modprobe -r dummy; modprobe -r --first-time dummy", status=1),
    scene(
        "waiting",
        f"modprobe af_alg; {HOLD.format(2)} & sleep 1; modprobe -r -w 9000 af_alg",
    ),
    scene(
        "waiting in vain",
        f"modprobe af_alg; {HOLD.format(4)} & sleep 2; modprobe -r -w 100 af_alg; echo $?; wait",
        "af_alg",
        says="could not remove 'af_alg': Resource temporarily unavailable",
        as_kmod_30=False,
    ),
)
SCENES = {one.name: one for one in (*TRIGGERS, *LOADING, *REMOVING)}


@dataclass(frozen=True)
class Result:
    status: int
    stdout: str
    stderr: str
    loaded: tuple[str, ...]


SCRIPT = """\
unload() {{
    for _ in 1 2 3 4 5 6 7 8; do
        modules=$(cut -d' ' -f1 /proc/modules)
        [ -z "$modules" ] && break
        /sbin/rmmod $modules 2>/dev/null
    done
}}
play() {{ # tools, their directory
    export PATH=$2:{path}
    echo "$2/modprobe" >/proc/sys/kernel/modprobe
    for script in /mnt/scenes/*; do
        out=/mnt/$1/${{script##*/}}
        mkdir -p "$out"
        dmesg -c >/dev/null
        sh "$script" >"$out/stdout" 2>"$out/stderr"
        echo $? >"$out/status"
        cp /proc/modules "$out/modules"
        unload
    done
}}
play theirs /sbin
play ours {tools}
"""


@pytest.fixture(scope="session")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Result, Result]]:
    """What each scene gave: with the C tools, and with ours. One boot for all."""
    uml.require()
    return play(tmp_path_factory.mktemp("uml"))


def play(directory: Path) -> dict[str, tuple[Result, Result]]:
    """Boot a guest that plays all scenes."""
    config = directory / "config"
    config.mkdir()
    (config / "test.conf").write_text(CONFIG)
    script = SCRIPT.format(path=uml.PATH, tools=_tools(directory))
    scenes = {f"{number:02}": one for number, one in enumerate(SCENES.values())}
    found = uml.Uml(directory).run(
        script,
        config=config,
        command_line=COMMAND_LINE,
        files={f"scenes/{number}": one.script + "\n" for number, one in scenes.items()},
    )
    return {
        one.name: (_result(found / "theirs" / number), _result(found / "ours" / number))
        for number, one in scenes.items()
    }


def _tools(directory: Path) -> Path:
    """A directory with our tools: links to a ukmod that runs this checkout in this Python."""
    program = directory / "ukmod"
    code = (
        f"import sys; sys.path.insert(0, {str(REPOSITORY / 'src')!r}); del sys.argv[0]; "
        "from ukmod.cli import main; sys.exit(main())"
    )
    # Not "#!PYTHON": there may be a space in its path.
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -c {shlex.quote(code)} "$0" "$@"\n')
    program.chmod(0o755)
    tools = directory / "tools"
    link_tools(str(tools), str(program))
    return tools


def _result(directory: Path) -> Result:
    def read(name: str) -> str:
        return (directory / name).read_text(errors="surrogateescape")

    modules = tuple(line.rsplit(" ", 1)[0] for line in read("modules").splitlines())
    return Result(int(read("status")), read("stdout"), read("stderr"), modules)


@pytest.mark.parametrize("name", [name for name, one in SCENES.items() if one.as_kmod_30])
def test_the_kernel_and_the_user_see_no_difference(
    results: dict[str, tuple[Result, Result]], name: str
) -> None:
    theirs, ours = results[name]
    assert ours == theirs


@pytest.mark.parametrize("name", SCENES)
def test_the_scene_ends_as_it_says(results: dict[str, tuple[Result, Result]], name: str) -> None:
    ours, expected = results[name][1], SCENES[name]
    assert {line.partition(" ")[0] for line in ours.loaded} == expected.loaded, ours.stderr
    assert ours.status == expected.status, ours.stderr
    assert expected.says in ours.stdout + ours.stderr
