"""Each file that a command reads, damaged: the command ends soon, in lines and not in a traceback."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.cli.damage import damaged
from tests.cli.hostile import assert_sound, in_child, said_by
from tests.cli.test_hostile_files import ROLES, TREE, root
from tests.elfwriter import module
from tests.golden import modules
from tests.kmod.depmod.trees import RELEASE
from tests.kmod.squashfswriter import squashfs
from tests.kmod.test_archives import FILE, cpio, deb, rpm, tar, uki
from tests.machine.btfwriter import small_kernel
from tests.machine.imagewriter import bzimage, many_symbols, vmlinux
from tests.real import debian
from tests.survey.test_results import CLEAN, OOPS, REFUSED, journal

from ukmod.kmod.cpio import ArchiveEntry

pytestmark = pytest.mark.fuzz

__all__ = ["root"]

IN_A_CHILD = 10
"""As many damaged files are tried in one process: to fork one costs more than most commands."""
EXAMPLES = max(1, settings().max_examples // 1000)
"""Of IN_A_CHILD commands each: for all the roles together that is minutes, and most of ``make fuzz``."""

CONFIGURATION = rb"""# a comment
alias foo* m
alias net-pf-9 exporter
blacklist m
options m a=4 \
  b=3
install exporter /sbin/modprobe --ignore-install exporter $CMDLINE_OPTS && { true; } || exit 1
remove exporter /sbin/modprobe -r exporter
softdep exporter pre: m post: dummy
weakdep m dummy
install ok_dep for i in 1 2 3; do modprobe loop$i; done; if [ -e /x ]; then modprobe m; fi
"""
DEPMOD_CONFIGURATION = b"search updates built-in\noverride m 6.1 extra\nexternal * /opt/x\nexclude foo\n"
GRUB = f"""set default="0"
if [ "${{next_entry}}" ] ; then
 set default="${{next_entry}}"
fi
function load_video {{
 insmod all_video
}}
menuentry 'Debian' --class debian $menuentry_id_option 'x' {{
 load_video
 linux /boot/vmlinuz-{RELEASE} root=UUID=1 ro quiet module_blacklist=m
}}
submenu 'More' {{
 menuentry 'Old' {{
  linux /boot/vmlinuz-{RELEASE} single
 }}
}}
for x in a b c; do echo $x; done
source /boot/grub/custom.cfg
blscfg
""".encode()
LOADER_ENTRY = (
    f"title x\nversion {RELEASE}\nlinux /vmlinuz-{RELEASE}\noptions quiet module_blacklist=m\n".encode()
)
SYMVERS = b"0x12345678\tm\tkernel/m\tEXPORT_SYMBOL_GPL\t\n0x0\tprintk\tvmlinux\tEXPORT_SYMBOL\tns\n"
MODULE = module("m", "alias=a*", "depends=", "parm=a:what it is", exports=["m"], needs=["printk"])
IMAGE = vmlinux(btf=small_kernel().data(), symbols=many_symbols(1100))
ENTRIES = [
    ArchiveEntry(f"{TREE}/kernel/m.ko", FILE, MODULE),
    ArchiveEntry(f"{TREE}/modules.order", FILE, b"kernel/m.ko\n"),
    ArchiveEntry("etc/modprobe.d/x.conf", FILE, CONFIGURATION),
]
SAMPLES: dict[str, tuple[bytes, ...]] = {
    "modprobe.d": (CONFIGURATION,),
    "depmod.d": (DEPMOD_CONFIGURATION,),
    "depmod -c": (DEPMOD_CONFIGURATION,),
    "-c": (CONFIGURATION,),
    "--cmdline": (b"quiet module_blacklist=m,dummy m.a=3 'a b' x=\"y z\" --\n",),
    "symvers": (SYMVERS,),
    "-e": (SYMVERS,),
    "-f": (b"ffffffff81000000 T _text\nffffffff81000010 r __ksymtab_printk\n",),
    "grub.cfg": (GRUB,),
    "loader entry": (LOADER_ENTRY,),
    "unified": (uki(*ENTRIES),),
    "config of": (b"CONFIG_MODULES=y\nCONFIG_MODULE_SIG=y\n# CONFIG_MODULE_SIG_FORCE is not set\n",),
    "--loaded": (b"m 40960 0 - Live 0x0000000000000000\nx 16384 1 m, Live 0xffffffffc0000000 (OE)\n",),
    "--modalias": (b"platform:m\npci:v00008086d0000100Esv00sd00bc02sc00i00\n",),
    "--keep": (b"m\n# x\nnet-pf-9\npci:v00008086d*\n",),
    "--expect": (b"m timeout it takes minutes\nx refuses ENODEV no device\n",),
    "archive": (
        *(pack(*ENTRIES) for pack in (cpio, tar, deb, rpm, uki)),
        *(squashfs(ENTRIES), gzip.compress(cpio(*ENTRIES))),
    ),
    "btf": (small_kernel().data(),),
    "profile": (IMAGE, small_kernel().data(), MODULE),
    "image": (IMAGE, bzimage(gzip.compress(IMAGE))),
    "module": (MODULE, *(modules()[name].read_bytes() for name in ("exporter", "uses_exporter", "params"))),
}  # fmt: skip
"""What belongs in a file, by a part of the role's name; the first that fits counts."""


def samples(root: Path, role: str) -> tuple[bytes, ...]:
    """Good files for a role: what is in the tree, what the command itself writes, or some of SAMPLES."""
    place, words = ROLES[role]
    if role == "a journal":
        in_child(lambda: {role: said_by(words)})
    if role == "the first of survey diff":
        journal(root / place, CLEAN, REFUSED, OOPS)
    if (root / place).is_file():
        return ((root / place).read_bytes(),)
    return next(content for part, content in SAMPLES.items() if part in role.lower())


def assert_sound_on(root: Path, role: str, good: tuple[bytes, ...], first: int) -> None:
    """Run a role's command on files that were damaged as each seed from the first one has it."""
    place, words = ROLES[role]

    def content(seed: int) -> bytes:
        return damaged(good[seed % len(good)], seed)

    def attempt(seed: int) -> list[str]:
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        (root / place).write_bytes(content(seed))
        return said_by(words)

    seeds = range(first, first + IN_A_CHILD)
    found = in_child(lambda: {str(seed): attempt(seed) for seed in seeds})
    for seed in seeds:
        # Each line of a file may be worth a few: what is wrong with it, its text, what would be right.
        assert_sound(found[str(seed)], 10_000 + 4 * content(seed).count(b"\n"))


SEED = st.integers(0, 10**9)


@pytest.mark.parametrize("role", ROLES)
def test_a_command_ends_in_lines(root: Path, role: str) -> None:
    good = samples(root, role)

    @settings(max_examples=EXAMPLES)
    @given(SEED)
    def run(first: int) -> None:
        assert_sound_on(root, role, good, first)

    run()


@pytest.mark.real
@pytest.mark.parametrize("role", [role for role in ROLES if role.startswith("a module")])
def test_a_command_on_a_module_of_debian_s_ends_in_lines(root: Path, role: str) -> None:
    found = (next(debian.require().modules.rglob(f"{name}.ko*")) for name in ("dummy", "crc7", "sctp_diag"))
    good = tuple(path.read_bytes() for path in found)

    @settings(max_examples=EXAMPLES)
    @given(SEED)
    def run(first: int) -> None:
        assert_sound_on(root, role, good, first)

    run()
