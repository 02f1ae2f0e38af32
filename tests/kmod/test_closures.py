from __future__ import annotations

from pathlib import Path

import pytest
from tests.kmod.moduletree import context, module

from ukmod.errors import MissingExtraError
from ukmod.kmod import Context, depmod
from ukmod.kmod.closures import Closure, Firmware, Missing, closure
from ukmod.kmod.modfile import ModuleFile
from ukmod.kmod.tree import Tree

MODULES = {
    "base": module(name="base", exports=["base_fn"]),
    "middle": module(name="middle", needs=["base_fn"], exports=["middle_fn"]),
    "user": module(
        "alias=fs-user", "softdep=pre: loop_a ghost", "firmware=u.bin", name="user", needs=["middle_fn"]
    ),
    "loop_a": module("softdep=post: loop_b", name="loop_a"),
    "loop_b": module("softdep=pre: loop_a", name="loop_b"),
    "weak": module("firmware=w.bin", name="weak"),
}


def closed(
    root: Path, *words: str, config: str = "", weakdeps: bool = False, firmware: Path | None = None
) -> Closure:
    directories = () if firmware is None else (str(firmware),)
    found = context(root, config, **MODULES)
    return closure(found, words, weakdeps=weakdeps, firmware_directories=directories)


def names(found: Closure) -> list[str]:
    return [member.module for member in found.modules]


def test_dependencies_stand_before_their_users(tmp_path: Path) -> None:
    assert names(closed(tmp_path, "middle", "base")) == ["base", "middle"]


def test_cycles_of_soft_dependencies_end(tmp_path: Path) -> None:
    assert names(closed(tmp_path, "user")) == ["base", "middle", "user", "loop_a", "loop_b"]


def test_each_module_says_why_it_is_there(tmp_path: Path) -> None:
    found = closed(tmp_path, "fs-user")
    assert [(member.module, member.reason, member.of) for member in found.modules] == [
        ("base", "dependency", "user"),
        ("middle", "dependency", "user"),
        ("user", "requested", "fs-user"),
        ("loop_a", "softdep", "user"),
        ("loop_b", "softdep", "loop_a"),
    ]


def test_weak_dependencies_are_followed_if_asked_for(tmp_path: Path) -> None:
    line = "weakdep base weak\n"
    assert names(closed(tmp_path, "base", config=line)) == ["base"]
    assert names(closed(tmp_path, "base", config=line, weakdeps=True)) == ["base", "weak"]


def test_firmware_comes_along(tmp_path: Path) -> None:
    (tmp_path / "u.bin.zst").write_bytes(b"")
    found = closed(tmp_path, "user", firmware=tmp_path)
    assert found.files[-1] == f"{tmp_path}/u.bin.zst"
    assert found.firmware[0].module == "user"


def test_what_is_missing_is_listed_by_kind(tmp_path: Path) -> None:
    found = closed(tmp_path, "user", "nothing", "/none.ko", firmware=tmp_path)
    assert set(found.missing) == {
        Missing("module", "nothing", ""),
        Missing("file", "/none.ko", ""),
        Missing("softdep", "ghost", "user"),
        Missing("firmware", "u.bin", "user"),
    }
    assert {missing.kind for missing in found.missing if missing.is_fault} == {"module", "file"}
    assert str(found.missing[0]) == "module nothing is missing"


def test_a_cycle_of_files_that_cannot_be_read_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []

    def open_module(tree: Tree, path: str) -> ModuleFile:
        opened.append(path)
        assert len(opened) < 10
        return ModuleFile(tree.path(path))

    monkeypatch.setattr(Tree, "open_module", open_module)
    found = context(tmp_path, "", **MODULES)
    files = [tmp_path / f"lib/modules/4.4.4/kernel/{name}.ko" for name in ("loop_a", "loop_b")]
    for file in files:
        file.write_bytes(b"damaged file")
    done = closure(found, ["loop_a"])
    assert opened == [one.name for one in done.missing] == list(map(str, files))
    assert done.modules == ()


def test_a_file_that_cannot_be_read_is_missing(tmp_path: Path) -> None:
    found = context(tmp_path, "", **MODULES)
    (tmp_path / "lib/modules/4.4.4/kernel/base.ko").write_bytes(b"damaged file")
    (missing,) = closure(found, ["base"]).missing
    assert (missing.kind, missing.needed_by) == ("file", "base")


def test_a_built_in_module_has_firmware_and_soft_dependencies(tmp_path: Path) -> None:
    context(tmp_path, "", **MODULES)
    directory = tmp_path / "lib/modules/4.4.4"
    fields = b"inside.firmware=i.bin\0inside.softdep=pre: base post: nowhere\0other.firmware=o.bin\0"
    (directory / "modules.builtin").write_text("kernel/inside.ko\n")
    (directory / "modules.builtin.modinfo").write_bytes(fields)
    depmod(tmp_path)
    (tmp_path / "i.bin").write_bytes(b"")
    found = closure(Context.open(Tree.open(tmp_path)), ["inside"], firmware_directories=[str(tmp_path)])
    assert [(one.module, one.path is None, one.reason) for one in found.modules] == [
        ("inside", True, "requested"),
        ("base", False, "softdep"),
    ]
    assert found.firmware == (Firmware(f"{tmp_path}/i.bin", "inside", "i.bin"),)
    assert found.missing == (Missing("softdep", "nowhere", "inside"),)


def test_links_come_with_their_targets(tmp_path: Path) -> None:
    firmware = tmp_path / "fw"
    (firmware / "real").mkdir(parents=True)
    (firmware / "real/u.1").write_bytes(b"")
    (firmware / "u.0").symlink_to("real/u.1")
    (firmware / "u.bin").symlink_to("u.0")
    found = closed(tmp_path, "user", firmware=firmware)
    assert found.files[-3:] == (f"{firmware}/u.bin", f"{firmware}/real/u.1", f"{firmware}/u.0")
    assert [(link.path, link.target) for link in found.links] == [
        (f"{firmware}/u.bin", "u.0"),
        (f"{firmware}/u.0", "real/u.1"),
    ]


def test_a_file_from_elsewhere_says_what_it_depends_on(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    own = module(
        "depends=other", "softdep=pre: weak", "weakdep=loop_b", name="own", needs=["middle_fn", "other_fn"]
    )
    (elsewhere / "own.ko").write_bytes(own)
    (elsewhere / "other.ko").write_bytes(module(name="other", exports=["other_fn"]))
    (tmp_path / "root").mkdir()
    tree = context(tmp_path / "root", "", **MODULES)
    found = closure(tree, [f"{elsewhere}/own.ko", f"{elsewhere}/other.ko"])
    assert names(found) == ["other", "base", "middle", "own", "weak"]
    assert found.missing == ()
    assert found.modules[-2].softdeps == ("weak",)
    followed = closure(tree, [f"{elsewhere}/own.ko", f"{elsewhere}/other.ko"], weakdeps=True)
    assert {"loop_a", "loop_b"} <= set(names(followed))
    alone = closure(context(tmp_path / "root", "", **MODULES), [f"{elsewhere}/own.ko"])
    assert Missing("module", "other", "own") in alone.missing


def test_files_that_depend_on_each_other_come_once(tmp_path: Path) -> None:
    for one, other in ("ab", "ba"):
        (tmp_path / f"{one}.ko").write_bytes(module(f"depends={other}", name=one))
    found = closure(context(tmp_path / "root", "", **MODULES), [f"{tmp_path}/a.ko", f"{tmp_path}/b.ko"])
    assert sorted(names(found)) == ["a", "b"]


def test_a_module_that_cannot_be_unpacked_is_taken_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def open_module(_tree: Tree, _path: str) -> ModuleFile:
        raise MissingExtraError("unpacking zstd", "zstd")

    found = context(tmp_path, "", **MODULES)
    monkeypatch.setattr(Tree, "open_module", open_module)
    done = closure(found, ["base"])
    assert names(done) == ["base"]
    assert "cannot read (needs extra zstd)" in str(done.missing[0])
    assert done.missing[0].is_fault


@pytest.mark.parametrize(
    ("words", "exclude", "expected"),
    [
        (["*"], ["re:user|loop"], ["base", "middle", "weak"]),
        (["*"], ["base"], ["loop_a", "loop_b", "weak"]),
        (["user"], ["loop_*"], ["base", "middle", "user"]),
        (["user", "loop_a"], ["loop_*"], ["base", "middle", "user", "loop_a"]),
        (["=."], [], []),
    ],
)
def test_excluded_modules_and_their_users_are_left_out(
    tmp_path: Path, words: list[str], exclude: list[str], expected: list[str]
) -> None:
    found = closure(context(tmp_path, "", **MODULES), words, exclude=exclude)
    assert names(found) == expected


def test_a_request_that_depends_on_an_excluded_module_fails(tmp_path: Path) -> None:
    (missing,) = closure(context(tmp_path, "", **MODULES), ["middle"], exclude=["base"]).missing
    assert str(missing) == "module middle: depends on base, which is excluded"
    assert missing.is_fault


def test_the_modules_of_a_machine_and_of_its_devices(tmp_path: Path) -> None:
    pci = module("alias=pci:v00008086d00001237sv*sd*bc*sc*i*", name="pci")
    usb = module("alias=usb:v046DpC52Bd*dc*dsc*dp*ic03isc*ip*in*", name="usb")
    found = closure(
        context(tmp_path, "", base=MODULES["base"], pci=pci, usb=usb),
        [],
        loaded=["base", "gone"],
        devices=["pci:v00008086d00001237sv00sd00bc06sc00i00", "usb:v046DpC52Bd????dc??ic??", "acpi:X:"],
    )
    assert [(one.module, one.reason) for one in found.modules] == [("base", "loaded"), ("pci", "device")]
    assert {(one.kind, one.name) for one in found.missing} >= {("loaded", "gone"), ("device", "acpi:X:")}
    assert not any(one.is_fault for one in found.missing)


def test_the_chain_leads_from_a_module_to_the_request(tmp_path: Path) -> None:
    (tmp_path / "u.bin").write_bytes(b"")
    found = closed(tmp_path, "fs-user", firmware=tmp_path)

    def chain(name: str) -> list[str]:
        return [one.module for one in found.chain(name)]

    assert chain("base") == ["base", "middle", "user"]
    assert chain("loop-b") == ["loop_b", "loop_a", "user"]
    assert chain("u.bin") == ["user"]
    assert chain("nothing") == []
