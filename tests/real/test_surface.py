"""The families of names that Debian's kernel asks for, as its image and its modules have them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import capstone
import pytest
from tests.real import debian

from ukmod.kernel.api import Kernel
from ukmod.kmod.audit.requests import FUNCTION
from ukmod.kmod.audit.surface import ANYBODY, DEVICE, NAMESPACE, ROOT, families, with_proofs
from ukmod.kmod.tree import Tree
from ukmod.machine.image.image import KernelImage
from ukmod.machine.image.requests import image_requests
from ukmod.record import replace
from ukmod.survey.surface import asked_by, prove

pytestmark = pytest.mark.real

KNOWN = {
    ("net-pf-%d", "__sock_create"),
    ("net-pf-%d-proto-%d-type-%d", "inet_create"),
    ("crypto-%s", "crypto_alg_mod_lookup"),
    ("fs-%.*s", "get_fs_type"),
    ("rtnl-link-%s", "__rtnl_newlink"),
    ("sch_%s", "qdisc_create"),
    ("cls_%s", "tcf_proto_lookup_ops"),
    ("act_%s", "tc_action_load_ops"),
    ("char-major-%d-%d", "base_probe"),
    ("block-major-%d-%d", "blk_request_module"),
    ("binfmt-%04x", "bprm_execve"),
    ("%s-iosched", "elevator_get"),
    ("tcp-ulp-%s", "tcp_set_ulp"),
}
"""Formats and functions of net/, fs/, block/ and crypto/ in Linux 6.1's sources."""


UNPROVEN = {"crypto-%s", "%s-iosched"}
"""Families of KNOWN whose way leads through a module."""
PROVEN = {"8021q", "bridge", "fb%d", "net-pf-%d-proto-%d-family-%s", "netdev-%s", "tcp_%s", "tty-ldisc-%d"}


@pytest.fixture(scope="module")
def image() -> KernelImage:
    return KernelImage(str(debian.require().vmlinuz))


def test_the_families_that_its_sources_have_are_found(image: KernelImage) -> None:
    found = {(text, one.function) for one in image_requests(image) for text in one.formats}
    assert found >= KNOWN


def test_every_call_that_a_disassembler_sees_is_found(image: KernelImage) -> None:
    target = image.symbols.get(FUNCTION)
    found = image_requests(image)
    machine = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    for name in {one.function for one in found}:
        start = image.symbols.get(name)
        assert start is not None
        code = image.read(start, image.symbols.size_at(start))
        calls = [one for one in machine.disasm(code, start) if one.mnemonic in {"call", "jmp"}]
        expected = sum(one.op_str == hex(target or 0) for one in calls)
        assert sum(one.function == name for one in found) == expected, name


def test_system_calls_have_the_kernel_ask_for_names_of_the_families_that_were_found(
    image: KernelImage,
) -> None:
    every = families(image_requests(image), [])
    with Kernel(image=image.path) as kernel:
        asked = asked_by(kernel)
    found, unmade = with_proofs(every, asked)
    assert unmade == ()
    proven = {one.name: one for one in found if one.proofs}
    assert proven.keys() >= {name for name, _ in KNOWN if name not in UNPROVEN} | PROVEN
    for name, family in proven.items():
        known = replace(family, proofs=()).needs
        # A filter, which is a module, has actions in a namespace of one's own, too.
        assert family.needs == known or not known or name == "act_%s", family.proofs


def test_system_calls_to_modules_have_them_ask_for_more(tmp_path: Path) -> None:
    kernel = debian.require("depmod", "modinfo")
    files = {file.name.split(".")[0].replace("-", "_"): file for file in kernel.modules.rglob("*.ko*")}
    wanted = ["act_ife", "cls_basic", "sch_ingress", "dm_mod", "ppp_generic", "l2tp_netlink", "openvswitch"]
    wanted += [
        "ip_vs",
        "ip_vs_rr",
        "xt_ipvs",
        "nft_compat",
        "snd_seq",
        "snd_timer",
        "crc32c_generic",
        "md_mod",
        "brd",
    ]
    for name in wanted:  # it grows: with each module come those that it needs
        words = ["modinfo", "-F", "depends", str(files[name])]
        needs = subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()
        wanted += [one for one in needs.replace("-", "_").split(",") if one and one not in wanted]
        target = tmp_path / "lib/modules" / kernel.release / files[name].relative_to(kernel.modules)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(files[name].read_bytes())
    subprocess.run(["depmod", "-b", tmp_path, kernel.release], check=True, capture_output=True)
    asked = prove(str(kernel.vmlinuz), Tree.open(str(tmp_path), kernel.release))
    found = {(one.name, one.function, one.owner, one.needs) for one in asked}
    assert found >= {
        ("binfmt-fcfd", "bprm_execve", "vmlinux", ANYBODY),
        ("dm-ukmod", "dm_get_target_type", "dm_mod", ROOT),
        ("ife-meta-skbmark", "tcf_ife_init", "act_ife", NAMESPACE),
        ("ip_vs_pe_ukmod", "ip_vs_pe_getbyname", "ip_vs", ROOT),
        ("ip_vs_ukmod", "ip_vs_scheduler_get", "ip_vs", NAMESPACE),
        ("net-l2tp-type-11", "l2tp_nl_cmd_session_create", "l2tp_netlink", NAMESPACE),
        ("ppp-compress-99", "ppp_set_compress", "ppp_generic", ROOT),
        ("md-level-99", "md_run", "md_mod", ROOT),
        ("md-ukmod", "md_run", "md_mod", ROOT),
        ("snd-card-0", "snd_open", "snd", DEVICE),
        ("snd-seq-client-14", "snd_seq_client_use_ptr", "snd_seq", DEVICE),
        ("snd-timer-3", "snd_timer_open", "snd_timer", DEVICE),
        ("vport-type-99", "ovs_vport_add", "openvswitch", NAMESPACE),
    }


def test_the_command_counts_modules_by_family(tmp_path: Path) -> None:
    kernel = debian.require("depmod")
    directory = tmp_path / "lib/modules" / kernel.release
    for name in ("net/unix/unix_diag", "net/packet/af_packet_diag"):
        (file,) = [*kernel.modules.glob(f"kernel/{name}.ko*")]
        target = directory / file.relative_to(kernel.modules)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.read_bytes())
    subprocess.run(["depmod", "-b", tmp_path, kernel.release], check=True, capture_output=True)
    words: list[str | Path] = [
        "audit",
        "surface",
        "-d",
        tmp_path,
        "--kernel",
        kernel.vmlinuz,
        "net-pf-%d-proto-%d-type-%d",
    ]
    done = subprocess.run([sys.executable, "-m", "ukmod", *words], capture_output=True, text=True, check=True)
    assert "requested by inet_create() of vmlinux" in done.stdout
    assert "reached by socket(2): any user" in done.stdout
    assert "open    unix_diag: net_pf_16_proto_4_type_1" in done.stdout
