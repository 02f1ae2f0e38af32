"""BTF, DWARF and the shipped profile are made by different tools from one kernel: they must say the same."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import Path

import pytest
from tests.real import debian

from ukmod.kmod.elf import Elf
from ukmod.machine.image.image import KernelImage
from ukmod.machine.types import Btf, Kind, Profile, Type, TypeSource, find_profile, types_for
from ukmod.machine.types.dwarf import Dwarf
from ukmod.machine.types.graph import Tag
from ukmod.machine.types.lines import SourceLine, SourceLines
from ukmod.machine.types.profile import cut, write_profile
from ukmod.machine.types.wanted import WANTED

pytestmark = [pytest.mark.real, pytest.mark.slow]

SOURCE = r"""
#include <linux/module.h>
#include <linux/sched/signal.h>
#include <linux/kmod.h>
#include <linux/workqueue.h>
#include <linux/completion.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/netdevice.h>

static struct completion done;
static struct delayed_work work;
static struct miscdevice device;

static void run(struct work_struct *unused)
{
	complete(&done);
}

int exported(struct task_struct *task, unsigned int flags, const char *name)
{
	return signal_pending(task) ? flags : strlen(name);
}
EXPORT_SYMBOL_GPL(exported);

static int __init start(void)
{
	init_completion(&done);
	INIT_DELAYED_WORK(&work, run);
	device.name = "example";
	schedule_delayed_work(&work, HZ);
	return request_module("example-%d", current->pid);
}
module_init(start);
static void __exit finish(void)
{
	cancel_delayed_work_sync(&work);
}
module_exit(finish);
MODULE_LICENSE("GPL");
"""


def needed(*programs: str) -> debian.Debian:
    kernel = debian.require(*programs)
    if not Path(f"/usr/src/linux-headers-{kernel.release}").is_dir():
        pytest.skip(f"linux-headers-{kernel.release} not installed: run {debian.SCRIPT} as root")
    return kernel


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> TypeSource:
    path = needed().vmlinuz
    return TypeSource(Btf(KernelImage(str(path), cache=str(tmp_path_factory.mktemp("cache"))).btf))


@pytest.fixture(scope="module", params=["5", "4"], ids=lambda version: f"DWARF {version}")
def module(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    release = needed("make", "gcc-12").release
    directory = tmp_path_factory.mktemp("module")
    (directory / "example.c").write_text(SOURCE)
    (directory / "Makefile").write_text("obj-m := example.o\n")
    headers = f"/usr/src/linux-headers-{release}"
    flags = f"KCFLAGS=-gdwarf-{request.param}"
    subprocess.run(
        ["make", "-s", "-C", headers, f"M={directory}", flags, "modules"],
        check=True,
        stderr=subprocess.DEVNULL,
    )
    return directory / "example.ko"


def elf(path: Path) -> Elf:
    return Elf(path.read_bytes(), str(path))


def test_dwarf_agrees_with_btf(module: Path, kernel: TypeSource) -> None:
    dwarf = Dwarf(elf(module))
    own = TypeSource(dwarf)
    names = [name for name, tag in dwarf.names() if tag in (Tag.STRUCT, Tag.UNION)]
    assert len(names) > 300
    assert [name for name in names if _flat(own.struct(name)) != _flat(kernel.struct(name))] == []
    enums = [name for name, tag in dwarf.names() if tag == Tag.ENUM]
    assert [name for name in enums if kernel.enum(name) not in (None, own.enum(name))] == []


def test_prototypes_agree(module: Path, kernel: TypeSource) -> None:
    own = TypeSource(Dwarf(elf(module)))
    assert str(own.prototype("exported")) == (
        "int exported(struct task_struct * task, unsigned int flags, char * name)"
    )
    assert str(own.prototype("__request_module")) in (
        str(kernel.prototype("__request_module")),
        "int __request_module(bool, char *, ...)",
    )


def test_the_shipped_profile_agrees_with_btf(kernel: TypeSource) -> None:
    found = find_profile(elf(next(needed().modules.glob("kernel/fs/isofs/isofs.ko"))))
    assert found is not None
    profile = TypeSource(found)
    assert sum(profile.type(name) is not None for name in WANTED) > 150
    assert [name for name in WANTED if profile.type(name) != kernel.type(name)] == []
    assert [name for name in WANTED if profile.struct(name) != kernel.struct(name)] == []
    assert profile.enum("pid_type") == kernel.enum("pid_type")


def test_the_shipped_profile_is_what_the_command_makes(kernel: TypeSource, tmp_path: Path) -> None:
    found = find_profile(elf(next(needed().modules.glob("kernel/fs/isofs/isofs.ko"))))
    assert isinstance(found, Profile)
    stamp = found.stamp
    again = cut(kernel.graph, release=stamp.release, vermagic=stamp.vermagic, digest=stamp.digest)
    write_profile(again, str(tmp_path / "again.json.gz"))
    assert (tmp_path / "again.json.gz").read_bytes() == Path(found.path).read_bytes()


def test_a_modules_own_types_add_to_the_profile(module: Path) -> None:
    types = types_for(elf(module))
    assert len(types.sources) == 2
    assert types.sources[1] == str(module)
    assert types.offset("task_struct", "thread_info.flags") == 0


def test_source_lines_agree_with_addr2line(module: Path) -> None:
    if shutil.which("addr2line") is None:
        pytest.skip("addr2line is not installed: apt-get install binutils")
    file = elf(module)
    lines = SourceLines(file)
    for name in (".text", ".init.text", ".exit.text"):
        section = file.section(name)
        assert section is not None
        places = [lines.find(name, offset) for offset in range(section.size)]
        # Between functions addr2line goes by the symbol before, where no function is.
        inside = [offset for offset, place in enumerate(places) if place is not None and place.function]
        assert inside
        command = ["addr2line", "-fi", "-e", str(module), "-j", name, *map(hex, inside)]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        wanted = [re.sub(r" \(discriminator \d+\)", "", line) for line in output.splitlines()]
        ours = [text for offset in inside for text in _as_addr2line(places[offset])]
        assert [_normal(line) for line in ours] == [_normal(line) for line in wanted]


def _flat(value: object) -> object:
    """The value with its arrays of arrays made into one, which is how pahole writes them into BTF."""
    if isinstance(value, Type) and value.kind is Kind.ARRAY:
        while value.target is not None and value.target.kind is Kind.ARRAY:
            value = replace(value, count=value.count * value.target.count, target=value.target.target)
    if isinstance(value, Mapping):
        return {key: _flat(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return tuple(_flat(item) for item in value)
    if is_dataclass(value):
        return type(value), tuple(_flat(getattr(value, field.name)) for field in fields(value))
    return value


def _as_addr2line(place: SourceLine | None) -> list[str]:
    lines = []
    while place is not None:
        lines += [place.function, f"{place.file}:{place.line}"]
        place = place.caller
    return lines


def _normal(line: str) -> str:
    return os.path.normpath(line) if "/" in line else line
