"""explain and closure against the C modprobe and a distribution's own modules."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.real import debian

from ukmod.kmod.closures import closure
from ukmod.kmod.context import Context
from ukmod.kmod.explanation import KernelFacts, explain
from ukmod.kmod.linkage import parse_symvers
from ukmod.kmod.modinfo import read_module
from ukmod.kmod.names import modname_from_path
from ukmod.kmod.objections import Inspector
from ukmod.kmod.tree import Tree

pytestmark = [pytest.mark.real, pytest.mark.slow]

SOFT = ("btrfs", "nfsd", "libcrc32c", "lrw", "xts", "act_mpls", "ext4", "vfio")  # they have soft dependencies


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with links to a distribution's modules, indexed, and a configuration full of denials."""
    kernel = debian.require("modprobe", "depmod")
    root = tmp_path_factory.mktemp("explain")
    target = root / "lib" / "modules" / kernel.release
    shutil.copytree(kernel.modules, target, symlinks=True, copy_function=_link_or_copy)
    subprocess.run(["/sbin/depmod", "-b", root, kernel.release], check=True)
    tree = Tree.open(root, kernel.release)
    names = list(tree.module_names())
    lines = [tree.dependency_line(name) or "" for name in names]
    needed = {modname_from_path(word) for line in lines for word in line.partition(":")[2].split()}
    sample = [*SOFT, *random.Random(1).sample(names, 150)]
    (root / "etc/modprobe.d").mkdir(parents=True)
    lines = [f"blacklist {name}\n" for name in sample[::2]]
    # A dry run does not show that a dependency's command would fail: tests/real/test_blocked.py does.
    lines += [f"install {name} /bin/false\n" for name in sample[::3] if name not in needed]
    (root / "etc/modprobe.d/deny.conf").write_text("".join(lines))
    (root / "sample").write_text("\n".join(sample))
    return root


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


@pytest.fixture(scope="session")
def context(root: Path) -> Context:
    return Context.open(Tree.open(root, debian.RELEASE))


def modprobe(root: Path, *arguments: str, config: str = "etc/modprobe.d") -> list[str]:
    at = ["-C", str(root / config), "-d", str(root), "-S", debian.RELEASE]
    command = ["/sbin/modprobe", *at, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def outcome(lines: list[str], name: str) -> str:
    """What a dry run of modprobe shows to become of a module."""
    if not lines:
        return "blacklisted"
    if any(line.startswith(f"insmod {name} ") or f"/{name}.ko " in line.replace("-", "_") for line in lines):
        return "loads"
    return "runs" if lines[-1].startswith("install ") else "builtin"


def words(context: Context, name: str) -> list[str]:
    """A module's name and one alias that stands for it alone."""
    path = context.path_of(context.by_name(name))
    assert path is not None
    with context.tree.open_module(path) as file:
        aliases = read_module(file, name).aliases
    plain = [one for one in aliases if not set(one) & set("*?[") and len(context.lookup(one)) == 1]
    return [name, *plain[:1]]


def test_the_outcome_is_what_modprobe_does(root: Path, context: Context) -> None:
    outcomes = set()
    for name in (root / "sample").read_text().split():
        for word in words(context, name):
            (target,) = explain(context, word, KernelFacts()).targets
            assert target.target.module == name
            assert target.outcome == outcome(modprobe(root, "-n", "-v", word), name), word
            outcomes.add(target.outcome)
    assert outcomes == {"loads", "runs", "blacklisted"}


def test_the_closure_holds_all_that_modprobe_would_load(root: Path) -> None:
    context = Context.open(Tree.open(root, debian.RELEASE), config_paths=["/dev/null"])
    for name in (root / "sample").read_text().split():
        lines = modprobe(root, "-D", name, config="/dev/null")
        loaded = {line.split()[1] for line in lines if line.startswith("insmod ")}
        found = closure(context, [name])
        assert loaded <= set(found.files), name
        assert not any(missing.is_fault for missing in found.missing)


def test_the_kernel_would_object_to_none_of_its_own_modules(context: Context) -> None:
    """Thousands of modules, each symbol with its exporter, licence, version and namespace."""
    symvers = Path(f"/usr/src/linux-headers-{debian.RELEASE}/Module.symvers")
    if not symvers.exists():
        pytest.skip(f"no {symvers}: apt-get install linux-headers-{debian.RELEASE}")
    exports = parse_symvers(symvers.read_text())
    vermagic = f"{debian.RELEASE} SMP preempt mod_unload modversions "
    inspector = Inspector(context.tree, KernelFacts(exports=exports, vermagic=vermagic))
    names = list(context.tree.module_names())
    assert len(names) > 1000
    for name in names:
        module = context.by_name(name)
        path = context.path_of(module)
        assert path is not None
        dependencies = {one.name for one in context.dependencies(module)}
        notes = inspector.notes(inspector.facts(name, path), dependencies.__contains__)
        assert [str(one) for one in notes if one.fatal] == []
