"""The routes inside of an initramfs, whose modprobe reads the configuration inside of it."""

from __future__ import annotations

import gzip
import stat
from pathlib import Path

import pytest
from tests.kmod.predict import images
from tests.kmod.predict.images import RELEASE
from tests.kmod.predict.scenarios import MODULES

from ukmod.kmod.archives.directories import directory_entries
from ukmod.kmod.audit import BLOCKED, OPEN, UNKNOWN, Audit, ModuleAudit, audit_system
from ukmod.kmod.audit.block import prove
from ukmod.kmod.audit.policy import generate_policy
from ukmod.kmod.cpio import ArchiveEntry, newc
from ukmod.kmod.initramfs import Initramfs, initramfs_paths, open_initramfs
from ukmod.kmod.objections import Inspector, KernelFacts
from ukmod.kmod.system import System
from ukmod.kmod.tree import Tree
from ukmod.record import replace

FILE = stat.S_IFREG | 0o644
DENY = "install lone /bin/false\n"


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return images.make(tmp_path / "image")


def archive(names: list[str], configuration: str = "", release: str = RELEASE) -> bytes:
    """Return an initramfs that holds modules and a configuration, as gzip packs it."""
    files = [
        ArchiveEntry(f"usr/lib/modules/{release}/kernel/{name}.ko", FILE, MODULES[name]) for name in names
    ]
    files.append(ArchiveEntry("etc/modprobe.d/deny.conf", FILE, configuration.encode()))
    files.append(ArchiveEntry("bin/sh", FILE | 0o111))
    return gzip.compress(b"".join(newc(files)))


def put(image: Path, data: bytes, path: str = f"boot/initrd.img-{RELEASE}") -> str:
    (image / path).parent.mkdir(parents=True, exist_ok=True)
    (image / path).write_bytes(data)
    return str(image / path)


def opened(image: Path, text: str = "", cmdline: str = "quiet") -> tuple[System, Inspector]:
    images.configure(image, {"etc/modprobe.d/x.conf": text})
    tree = Tree.open(image, RELEASE)
    system, inspector = System.of(tree, str(image), cmdline), Inspector(tree, KernelFacts())
    paths = initramfs_paths(tree.files, str(image), RELEASE)
    found = [open_initramfs(path, system, inspector) for path in paths]
    return replace(system, initramfs=tuple(one for one in found if one is not None)), inspector


def audited(image: Path, text: str = "", cmdline: str = "quiet") -> Audit:
    return audit_system(*opened(image, text, cmdline))


def module(found: Audit, name: str) -> ModuleAudit:
    return next(one for one in found.modules if one.module == name)


def early(found: Audit, name: str) -> dict[str, str]:
    routes = module(found, name).routes
    return {route.kind: route.verdict for route in routes if route.kind.startswith("initramfs")}


def test_a_module_inside_is_loaded_whatever_the_root_s_configuration_says(image: Path) -> None:
    path = put(image, archive(["base", "lone"]))
    found = audited(image, DENY)
    assert module(found, "lone").verdict == OPEN
    assert early(found, "lone") == {"initramfs name": OPEN, "initramfs alias": OPEN}
    assert early(found, "other") == {}
    (finding,) = found.findings
    assert (finding.rule, finding.level) == ("denied-open", "error")
    assert finding.text.endswith(f"lone is loaded all the same: in the initramfs {path}")


def test_the_configuration_inside_counts_inside(image: Path) -> None:
    put(image, archive(["base", "lone"], DENY))
    assert module(audited(image, DENY), "lone").verdict == BLOCKED
    found = audited(image)
    assert module(found, "lone").verdict == OPEN
    assert early(found, "lone") == {"initramfs name": BLOCKED, "initramfs alias": BLOCKED}


def test_a_blacklist_inside_leaves_the_name(image: Path) -> None:
    put(image, archive(["base", "lone"], "blacklist lone\n"))
    found = audited(image, "blacklist lone\n")
    assert early(found, "lone") == {"initramfs name": OPEN, "initramfs alias": BLOCKED}
    assert [one.rule for one in found.findings] == ["blacklist-by-name"]
    put(image, archive(["base", "lone"]))
    found = audited(image, "blacklist lone\n")
    assert [(one.rule, one.level) for one in found.findings] == [("blacklist-passed", "error")]


def test_the_list_of_the_kernel_s_command_line_counts_inside(image: Path) -> None:
    put(image, archive(["base", "lone"]))
    assert module(audited(image, cmdline="module_blacklist=lone"), "lone").verdict == BLOCKED


def test_what_cannot_be_read_may_hold_any_module(image: Path) -> None:
    put(image, archive(["base"])[:-30])
    found = audited(image, DENY, cmdline="module_blacklist=other")
    assert module(found, "lone").verdict == UNKNOWN
    assert "cut off" in module(found, "lone").routes[-1].why
    assert module(found, "other").verdict == BLOCKED
    assert [one.rule for one in found.findings] == ["denied-unknown"]


def test_the_initramfs_of_another_kernel_does_not_matter(image: Path) -> None:
    put(image, archive(["lone"], release="5.5.5"))
    assert module(audited(image, DENY), "lone").verdict == BLOCKED


@pytest.mark.parametrize(
    "path",
    [
        f"boot/initrd.img-{RELEASE}",
        f"boot/initramfs-{RELEASE}.img",
        f"boot/initrd-{RELEASE}",
        f"boot/0123456789abcdef/{RELEASE}/initrd",
        f"efi/0123456789abcdef/{RELEASE}/initrd.gz",
        f"usr/lib/modules/{RELEASE}/initrd",
    ],
)
def test_an_initramfs_is_found_where_distributions_put_it(image: Path, path: str) -> None:
    assert [Path(one).name for one in initramfs_paths(Tree.open(image).files, str(image), RELEASE)] == []
    put(image, archive(["lone"]), path)
    (found,) = initramfs_paths(Tree.open(image).files, str(image), RELEASE)
    assert Path(found).samefile(image / path)


def test_the_proof_applies_its_lines_inside_as_well_and_says_so(image: Path) -> None:
    path = put(image, archive(["base", "lone"]))
    (proof,) = prove(*opened(image, DENY), ["lone"])
    assert proof.remedy is not None
    assert proof.remedy.is_proven
    assert proof.remedy.initramfs == (path,)
    (proof,) = prove(*opened(image), ["other"])
    assert proof.remedy is not None
    assert proof.remedy.initramfs == ()


def test_if_an_initramfs_cannot_be_read_the_kernel_s_own_list_is_the_remedy(image: Path) -> None:
    put(image, b"\x1f\x8b nothing")
    (proof,) = prove(*opened(image, DENY), ["lone"])
    assert proof.remedy is not None
    assert (proof.remedy.is_proven, proof.remedy.arguments) == (True, ("module_blacklist=lone",))


def test_a_policy_is_for_the_initramfs_as_well(image: Path) -> None:
    put(image, archive(["base", "lone"]))
    assert generate_policy(*opened(image), ["base"]).findings == ()


def test_one_inside_of_an_archive_is_read_in_it(image: Path, tmp_path: Path) -> None:
    put(image, archive(["base", "lone"]))
    images.configure(image, {"etc/modprobe.d/x.conf": DENY})
    path = str(tmp_path / "root.cpio")
    Path(path).write_bytes(b"".join(newc(list(directory_entries(str(image))))))
    tree = Tree.open(path, RELEASE)
    system, inspector = System.of(tree, path, "quiet"), Inspector(tree, KernelFacts())
    (found,) = [open_initramfs(one, system, inspector) for one in initramfs_paths(tree.files, path, RELEASE)]
    assert isinstance(found, Initramfs)
    audit = audit_system(replace(system, initramfs=(found,)), inspector)
    assert early(audit, "lone") == {"initramfs name": OPEN, "initramfs alias": OPEN}


def test_one_that_is_not_there_is_said(image: Path) -> None:
    system, inspector = opened(image)
    found = open_initramfs(f"{image}/nowhere", system, inspector)
    assert isinstance(found, Initramfs)
    assert found.fault.endswith("nowhere: No such file or directory")
