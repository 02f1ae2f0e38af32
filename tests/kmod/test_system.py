"""What an image's own files say of the kernel that it will run."""

from __future__ import annotations

import lzma
from pathlib import Path

import pytest
from tests.elfwriter import STB_LOCAL, STT_FUNC, Section, Symbol, elf, modinfo
from tests.kmod import moduletree
from tests.kmod.moduletree import module

from ukmod.kmod import depmod
from ukmod.kmod.enforcement import locked_down
from ukmod.kmod.explanation import Explanation, agreed
from ukmod.kmod.objections import Inspector, KernelFacts
from ukmod.kmod.system import System
from ukmod.kmod.tree import Tree

SYSTEM_MAP = """\
ffffffff83000000 d __initcall__kmod_algif__283_42_algif_init6
ffffffff83000004 d __initcall__kmod_two__parts__9_1_start_two6
ffffffff83000008 d __initcall__kmod_early_one__1_2_early_oneearly
ffffffff8300000c t algif_init
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with two modules, of which one has a named init function, and three that are built in."""
    sections = [Section(".init.text", b"\xc3"), Section(".modinfo", modinfo("license=GPL", "name=named"))]
    named = elf(
        sections,
        [
            Symbol("named_start", ".init.text", type=STT_FUNC, bind=STB_LOCAL),
            Symbol("init_module", ".init.text", type=STT_FUNC),
        ],
    )
    directory = moduletree.write(tmp_path, user=module(name="user"), named=named)
    (directory / "modules.builtin").write_text("kernel/algif.ko\nkernel/two__parts.ko\nkernel/plain.ko\n")
    depmod(tmp_path)
    return tmp_path


def explained(root: Path, word: str, cmdline: str | None = None) -> Explanation:
    tree = Tree.open(root)
    explainers = System.of(tree, str(root), cmdline).explainers(Inspector(tree, KernelFacts()))
    return agreed([(boot, one.explain(word)) for boot, one in explainers])


def grub(root: Path, *cmdlines: str) -> None:
    (root / "boot/grub").mkdir(parents=True, exist_ok=True)
    lines = [f"linux /boot/vmlinuz-4.4.4 {cmdline}\n" for cmdline in cmdlines]
    (root / "boot/grub/grub.cfg").write_text("".join(lines))


def test_what_all_boot_entries_say_is_certain(root: Path) -> None:
    grub(root, "module_blacklist=user quiet", "module_blacklist=user single")
    assert explained(root, "user").verdict == "not loaded"
    assert explained(root, "named").verdict == "loaded"


def test_boot_entries_that_disagree_are_named(root: Path) -> None:
    grub(root, "quiet", "module_blacklist=user")
    found = explained(root, "user")
    assert found.verdict == "unknown"
    told = [str(note).replace(f"{root}/", "") for note in found.notes]
    assert told == [
        "loaded, if it is booted by this entry (boot/grub/grub.cfg:1)",
        "not loaded, if it is booted by this entry (boot/grub/grub.cfg:2)",
    ]


def test_a_link_to_nothing_that_old_versions_take_for_a_file_is_no_certain_answer(root: Path) -> None:
    (root / "usr/lib/modprobe.d").mkdir(parents=True)
    (root / "usr/lib/modprobe.d/a.conf").write_text("install user /bin/false\n")
    (root / "etc/modprobe.d").mkdir(parents=True, exist_ok=True)
    (root / "etc/modprobe.d/a.conf").symlink_to("nowhere")
    found = explained(root, "user")
    assert found.verdict == "unknown"
    assert any("loaded, if modprobe is of an old version" in str(note) for note in found.notes)
    assert explained(root, "named").verdict == "loaded"


def test_a_command_line_that_is_given_is_taken_instead(root: Path) -> None:
    grub(root, "module_blacklist=user")
    assert explained(root, "user", "quiet").verdict == "loaded"


@pytest.mark.parametrize(
    ("function", "verdict"),
    [("named_start", "not loaded"), ("init_module", "loaded"), ("user_init", "loaded")],
)
def test_initcall_blacklist_names_the_function_that_kallsyms_shows(
    root: Path, function: str, verdict: str
) -> None:
    assert explained(root, "named", f"initcall_blacklist={function}").verdict == verdict


@pytest.mark.parametrize(
    ("word", "function", "verdict"),
    [
        ("algif", "algif_init", "not loaded"),
        ("two__parts", "start_two", "not loaded"),
        ("plain", "algif_init", "loaded"),
        ("plain", "plain_init", "loaded"),
    ],
)
def test_initcalls_of_built_in_modules_are_in_system_map(
    root: Path, word: str, function: str, verdict: str
) -> None:
    (root / "boot").mkdir()
    (root / "boot/System.map-4.4.4").write_text(SYSTEM_MAP)
    assert explained(root, word, f"initcall_blacklist={function}").verdict == verdict


def test_without_system_map_a_usual_name_is_a_doubt(root: Path) -> None:
    assert explained(root, "algif", "initcall_blacklist=algif_init").verdict == "unknown"
    assert explained(root, "algif", "initcall_blacklist=other_init").verdict == "loaded"


LOCKDOWN = "CONFIG_MODULE_SIG=y\nCONFIG_SECURITY_LOCKDOWN_LSM=y"


@pytest.mark.parametrize(
    ("config", "cmdline", "verdict"),
    [
        ("CONFIG_MODULE_SIG=y", "quiet", "loaded"),
        ("CONFIG_MODULE_SIG=y", "module.sig_enforce", "not loaded"),
        ("# CONFIG_MODULE_SIG is not set", "module.sig_enforce", "loaded"),
        ("CONFIG_MODULE_SIG_FORCE=y", "quiet", "not loaded"),
        (LOCKDOWN, "lockdown=integrity", "not loaded"),
        (LOCKDOWN, "lockdown=none", "loaded"),
        (LOCKDOWN, "lockdown=integrity lsm=yama,bpf", "loaded"),
        (LOCKDOWN, "lsm=yama,lockdown lockdown=confidentiality", "not loaded"),
        (f'{LOCKDOWN}\nCONFIG_LSM="yama,apparmor"', "lockdown=integrity", "loaded"),
        (f'{LOCKDOWN}\nCONFIG_LSM="landlock,lockdown"', "lockdown=integrity", "not loaded"),
        (f"{LOCKDOWN}\nCONFIG_SECURITY_LOCKDOWN_LSM_EARLY=y", "lockdown=integrity lsm=bpf", "not loaded"),
        (f"{LOCKDOWN}\nCONFIG_LOCK_DOWN_KERNEL_FORCE_INTEGRITY=y", "quiet", "not loaded"),
        ("CONFIG_MODULE_SIG=y", "lockdown=integrity", "loaded"),
        ("CONFIG_MODULE_SIG=y", "module.sig_enforce=1 lockdown=integrity", "not loaded"),
    ],
)
def test_unsigned_modules_and_the_kernel_s_configuration(
    root: Path, config: str, cmdline: str, verdict: str
) -> None:
    (root / "boot").mkdir()
    (root / "boot/config-4.4.4").write_text(config + "\n")
    assert explained(root, "user", cmdline).verdict == verdict


def test_the_level_of_lockdown_is_in_brackets() -> None:
    assert locked_down("none [integrity] confidentiality\n") == "integrity"
    assert locked_down("[none] integrity confidentiality\n") is None
    assert locked_down("") is None


def test_a_value_that_the_parameter_does_not_take(tmp_path: Path) -> None:
    parameters = ("parmtype=n:int", "parmtype=on:bool", "parmtype=list:array of byte", "parmtype=s:charp")
    moduletree.write(tmp_path, user=module(*parameters, name="user"))
    depmod(tmp_path)
    cases = {
        "n=1": True, "n=0x10": True, "n=-7": True, "n=many": False, "n": False, "n=4294967295": False,
        "on": True, "on=y": True, "on=maybe": False, "list=1,255": True, "list=1,256": False, "s=x": True,
        "s": False, "other=x": True,
    }  # fmt: skip
    for option, is_taken in cases.items():
        assert explained(tmp_path, "user", f"user.{option}").is_loaded == is_taken, option


@pytest.mark.parametrize(
    ("config", "verdict"),
    [
        ("CONFIG_MODULE_COMPRESS_XZ=y\nCONFIG_MODULE_DECOMPRESS=y\n", "unknown"),
        ("CONFIG_MODULE_COMPRESS_ZSTD=y\nCONFIG_MODULE_DECOMPRESS=y\n", "loaded"),
        ("CONFIG_MODULE_COMPRESS_XZ=y\n# CONFIG_MODULE_DECOMPRESS is not set\n", "loaded"),
        ("", "unknown"),
    ],
)
def test_a_file_that_the_kernel_cannot_unpack_is_a_doubt_if_it_may_be_asked_to(
    tmp_path: Path, config: str, verdict: str
) -> None:
    directory = moduletree.write(tmp_path)
    (directory / "kernel/user.ko.xz").write_bytes(lzma.compress(module(name="user"), check=lzma.CHECK_CRC64))
    depmod(tmp_path)
    (tmp_path / "boot").mkdir()
    if config:
        (tmp_path / "boot/config-4.4.4").write_text(config)
    tree = Tree.open(tmp_path)
    system = System.of(tree, str(tmp_path), "quiet")
    inspector = Inspector(tree, KernelFacts(unpacks=system.unpacks()))
    ((_boot, explainer),) = system.explainers(inspector)
    found = explainer.explain("user")
    assert found.verdict == verdict
    assert "packing" in {note.kind for note in found.targets[0].steps[0].notes}


@pytest.mark.parametrize(
    ("config", "verdict"),
    [
        ("CONFIG_MODULE_COMPRESS_XZ=y\nCONFIG_MODULE_DECOMPRESS=y\n", "unknown"),
        ("CONFIG_MODULE_COMPRESS_ZSTD=y\nCONFIG_MODULE_DECOMPRESS=y\n", "not loaded"),
        ("CONFIG_MODULE_COMPRESS_XZ=y\n# CONFIG_MODULE_DECOMPRESS is not set\n", "not loaded"),
        ("", "unknown"),
    ],
)
def test_the_kernel_takes_a_file_with_other_bytes_behind_it_and_kmod_does_not(
    tmp_path: Path, config: str, verdict: str
) -> None:
    directory = moduletree.write(tmp_path)
    packed = lzma.compress(module(name="user"), check=lzma.CHECK_CRC32)
    (directory / "kernel/user.ko.xz").write_bytes(packed)
    depmod(tmp_path)
    (directory / "kernel/user.ko.xz").write_bytes(packed + b"other bytes")
    (tmp_path / "boot").mkdir()
    if config:
        (tmp_path / "boot/config-4.4.4").write_text(config)
    tree = Tree.open(tmp_path)
    system = System.of(tree, str(tmp_path), "quiet")
    ((_boot, explainer),) = system.explainers(Inspector(tree, KernelFacts(unpacks=system.unpacks())))
    assert explainer.explain("user").verdict == verdict


def test_a_directory_that_old_versions_do_not_read_is_a_doubt(tmp_path: Path) -> None:
    """Since version 32, kmod reads /usr/lib/modprobe.d besides /lib/modprobe.d."""
    moduletree.write(tmp_path, user=module(name="user"))
    depmod(tmp_path)
    deny = tmp_path / "usr/lib/modprobe.d/deny.conf"
    deny.parent.mkdir(parents=True)
    deny.write_text("install user /bin/false\n")
    assert explained(tmp_path, "user", "quiet").verdict == "unknown"
    old = tmp_path / "lib/modprobe.d/deny.conf"
    old.parent.mkdir()
    old.write_text("install user /bin/false\n")
    assert explained(tmp_path, "user", "quiet").verdict == "not loaded"
    deny.write_text("")  # where it is read, it hides the other
    assert explained(tmp_path, "user", "quiet").verdict == "unknown"


def test_a_merged_root_has_no_such_doubt(tmp_path: Path) -> None:
    (tmp_path / "usr/lib").mkdir(parents=True)
    (tmp_path / "lib").symlink_to("usr/lib")
    moduletree.write(tmp_path, user=module(name="user"))
    depmod(tmp_path)
    (tmp_path / "usr/lib/modprobe.d").mkdir()
    (tmp_path / "usr/lib/modprobe.d/deny.conf").write_text("install user /bin/false\n")
    assert explained(tmp_path, "user", "quiet").verdict == "not loaded"
