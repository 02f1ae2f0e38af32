"""Links that lead out of a root, in the place of its files: what is there is neither shown nor copied."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.cli.hostile import Found, assert_sound, in_child, said_by
from tests.elfwriter import module
from tests.kmod.depmod.trees import RELEASE, make_tree

from ukmod.cli import main

CANARY = "options m canary=5821"
TREE = f"lib/modules/{RELEASE}"
AT = ["-d", "root", "-S", RELEASE]
FIRMWARE = ("a.bin", "b.bin", "c/secret")
LINKS = {
    **{
        f"{TREE}/{name}": "secret" for name in ("modules.order", "modules.builtin", "modules.builtin.modinfo")
    },
    f"{TREE}/modules.softdep": "secret",
    f"{TREE}/build/Module.symvers": "secret",
    f"{TREE}/kernel/out.ko": "secret",
    "lib/firmware/a.bin": "secret",
    "lib/firmware/c": ".",
    "etc/modprobe.d/x.conf": "secret",
    "etc/depmod.d/x.conf": "secret",
    "boot/loader/entries/x.conf": "secret",
    f"boot/config-{RELEASE}": "secret",
    "proc/cmdline": "secret",
}
"""Files of the root that lead to one of the host, or to its directory."""
COMMANDS = (
    ["modinfo", "-b", "root", "-k", RELEASE, "m", "out"],
    ["modinfo", f"root/{TREE}/kernel/out.ko"],
    ["modprobe", *AT, "-D", "m", "out"],
    ["modprobe", *AT, "-c"],
    ["depmod", "-b", "root", "-n", RELEASE],
    ["depmod", "-b", "root", "-w", RELEASE],
    ["explain", *AT, "m", "out"],
    ["explain", *AT, f"./root/{TREE}/kernel/out.ko"],
    ["lint", *AT, "--notes"],
    ["audit", *AT, "m", "out"],
    ["closure", *AT, "--on-missing", "warn", "m", "out"],
    ["closure", *AT, "--on-missing", "warn", "--format", "manifest", "m", "out"],
    ["closure", *AT, "--on-missing", "warn", "--format", "cpio", "-o", "copies/a.cpio", "m", "out"],
    ["closure", *AT, "--on-missing", "warn", "--copy", "copies", "m"],
    ["graph", *AT, "m", "out"],
    ["fits", *AT, f"root/{TREE}/kernel/m.ko"],
    ["run", *AT, "--kernel", "none", "out"],
    ["survey", *AT, "--kernel", "none", "--jobs", "1", "out"],
    ["profile", f"root/{TREE}/kernel/out.ko", "-o", "copies/profile"],
)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with a root and a secret beside it."""
    needs = [f"firmware={name}" for name in FIRMWARE]
    modules = {f"kernel/{name}.ko": module(name, *needs) for name in ("m", "out")}
    make_tree(tmp_path / "root", modules)
    (tmp_path / "secret").write_text(f"{CANARY}\n")
    (tmp_path / "copies").mkdir()
    monkeypatch.chdir(tmp_path)
    assert main(["ukmod", "depmod", "-b", "root", RELEASE]) == 0
    return tmp_path


@pytest.mark.parametrize("kind", ["absolute", "relative"])
def test_what_a_link_leads_to_outside_of_a_root_is_not_shown(place: Path, kind: str) -> None:
    for name, target in LINKS.items():
        link = place / "root" / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        above = "../" * (name.count("/") + 1)
        link.symlink_to(place / target if kind == "absolute" else f"{above}{target}")
        assert link.exists()

    def attempts() -> Found:
        return {" ".join(words): said_by(words) for words in COMMANDS}

    for words, lines in in_child(attempts).items():
        assert_sound(lines)
        assert not [line for line in lines if CANARY in line], words
    copied = [path for path in (place / "copies").rglob("*") if path.is_file()]
    made = [path for path in (place / "root" / TREE).iterdir() if path.is_file() and not path.is_symlink()]
    assert len(copied) > 5
    assert not [path for path in copied + made if CANARY.encode() in path.read_bytes()]
