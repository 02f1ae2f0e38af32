"""Proofs that modules are blocked, and the lines that block them."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.kmod.predict import images
from tests.kmod.predict.images import RELEASE

from ukmod.kmod.audit import BLOCKED, OPEN
from ukmod.kmod.audit.amended import with_arguments
from ukmod.kmod.audit.block import Proof, Remedy, prove
from ukmod.kmod.config import Source
from ukmod.kmod.kernelargs import BootArguments
from ukmod.kmod.objections import Inspector, KernelFacts
from ukmod.kmod.system import System
from ukmod.kmod.tree import Tree


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image without a configuration."""
    return images.make(tmp_path_factory.mktemp("image"))


def proofs(image: Path, files: dict[str, str], *names: str, config: list[str] | None = None) -> list[Proof]:
    images.configure(image, files)
    tree = Tree.open(image, RELEASE)
    system = System.of(tree, str(image), "quiet")
    return list(prove(system, Inspector(tree, KernelFacts()), names, config))


def remedy(image: Path, text: str, name: str) -> Remedy:
    (proof,) = proofs(image, {"etc/modprobe.d/x.conf": text}, name)
    assert proof.audit.verdict != BLOCKED
    assert proof.remedy is not None
    return proof.remedy


def test_a_deny_list_is_proven(image: Path) -> None:
    text = "install base /bin/false\ninstall other /bin/true\n"
    found = proofs(image, {"etc/modprobe.d/x.conf": text}, "base", "other", "mid")
    assert [proof.is_proven for proof in found] == [True] * 3
    assert [proof.remedy for proof in found] == [None] * 3
    assert [proof.findings() for proof in found] == [[]] * 3


def test_a_blacklist_is_not_enough(image: Path) -> None:
    found = remedy(image, "blacklist base\n", "base")
    assert found.lines == ("install base /bin/false",)
    assert found.path == f"{image}/etc/modprobe.d/00-block.conf"
    assert found.is_proven


def test_soft_dependencies_are_taken_from_a_module_whose_install_line_is_to_run(image: Path) -> None:
    found = remedy(image, "", "soft")
    assert found.lines == ("install soft /bin/false", "softdep soft pre:")
    assert found.is_proven


def test_a_line_that_came_first_is_overtaken(image: Path) -> None:
    found = remedy(image, "install lone /sbin/modprobe -i lone\n", "lone")
    assert (found.lines, found.is_proven) == (("install lone /bin/false",), True)


def test_what_no_line_stops_the_kernel_refuses(image: Path) -> None:
    found = remedy(image, "install other /sbin/modprobe -i lone\n", "lone")
    assert (found.lines, found.arguments) == ((), ("module_blacklist=lone",))
    assert found.is_proven


def test_the_file_is_read_before_all_others(image: Path) -> None:
    names = {f"etc/modprobe.d/{name}.conf": "" for name in ("00-a", "00-block")}
    (proof,) = proofs(image, names, "lone")
    assert proof.remedy is not None
    assert proof.remedy.path.endswith("/0-block.conf")


def test_with_a_configuration_of_one_file_the_lines_are_put_before_its_own(image: Path) -> None:
    config = image / "one.conf"
    config.write_text("install lone /sbin/modprobe -i lone\n")
    (proof,) = proofs(image, {}, "lone", config=[str(config)])
    assert proof.remedy == Remedy(str(config), ("install lone /bin/false",), is_proven=True)


def test_a_built_in_module_is_blocked_by_its_init_function_if_that_is_known(image: Path) -> None:
    (proof,) = proofs(image, {}, "bi")
    assert (proof.audit.verdict, proof.remedy) == (OPEN, None)
    (image / "boot").mkdir(exist_ok=True)
    system_map = image / f"boot/System.map-{RELEASE}"
    system_map.write_text("ffffffff82000000 d __initcall__kmod_bi__123_45_bi_start6\n")
    (proof,) = proofs(image, {}, "bi")
    system_map.unlink()
    assert proof.remedy is not None
    assert (proof.remedy.arguments, proof.remedy.is_proven) == (("initcall_blacklist=bi_start",), True)


def test_an_open_route_is_a_finding(image: Path) -> None:
    (proof,) = proofs(image, {"etc/modprobe.d/x.conf": "blacklist base\n"}, "base")
    (finding,) = proof.findings()
    assert (finding.rule, finding.level) == ("route-open", "error")
    assert finding.text == "base gets into the kernel: by its name, dependency of mid, dependency of user"


def test_of_several_module_blacklists_the_last_is_extended(tmp_path: Path) -> None:
    boots = (BootArguments("module_blacklist=a quiet -- x", Source("--cmdline")),)
    changed = with_arguments(
        System(Tree(str(tmp_path)), "/", is_live=False, boots=boots), ["module_blacklist=b"]
    )
    assert changed.boots[0].text == "module_blacklist=a quiet module_blacklist=a,b -- x"
