"""Each test is a misunderstanding of modprobe.d, and what really happens."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests import signing
from tests.kmod.moduletree import VERMAGIC, context, module

from ukmod.errors import NotFoundError
from ukmod.kmod.context import Context
from ukmod.kmod.explanation import Explanation, KernelFacts, explain
from ukmod.kmod.explanation_report import as_lines, as_object
from ukmod.kmod.linkage import ExportedSymbol
from ukmod.kmod.tree import Tree

BASE = module(name="base", exports={"base_fn": 7})
USER = module("alias=net-pf-9", name="user", needs=["base_fn"], crcs={"base_fn": 7})
SOFT = module("softdep=pre: base", name="soft")


def account(
    root: Path, word: str, config: str = "", kernel: KernelFacts | None = None, **modules: bytes
) -> Explanation:
    everything = {"base": BASE, "user": USER, "soft": SOFT} | modules
    return explain(context(root, config, **everything), word, kernel or KernelFacts())


def kinds(explanation: Explanation, step: int = -1) -> dict[str, str]:
    """The notes on one step: kind to the place in the configuration that they name."""
    found = explanation.targets[0].steps[step].notes
    return {note.kind: str(note.source).rpartition("/")[2] for note in found if note.kind != "unsigned"}


def as_text(explanation: Explanation) -> str:
    """Return the account as people read it."""
    return "".join(f"{line}\n" for line in as_lines(explanation))


def outcome(explanation: Explanation) -> str:
    return explanation.targets[0].outcome


def test_dependencies_come_first(tmp_path: Path) -> None:
    found = account(tmp_path, "user")
    assert outcome(found) == "loads"
    assert [one.step.module for one in found.targets[0].steps] == ["base", "user"]
    assert kinds(found) == {}


def test_a_blacklist_does_not_stop_who_is_called_by_name(tmp_path: Path) -> None:
    found = account(tmp_path, "user", "blacklist user\n")
    assert outcome(found) == "loads"
    assert kinds(found) == {"blacklist-ignored": "x.conf:1"}


def test_a_blacklist_does_not_stop_a_dependency(tmp_path: Path) -> None:
    found = account(tmp_path, "user", "# to be sure\nblacklist base\n")
    assert kinds(found, 0) == {"blacklist-ignored": "x.conf:2"}
    assert "it is a dependency" in as_text(found)


def test_a_blacklist_stops_an_alias(tmp_path: Path) -> None:
    found = account(tmp_path, "net-pf-9", "blacklist user\n")
    assert outcome(found) == "blacklisted"
    assert str(found.targets[0].notes[0].source).endswith("x.conf:1")


def test_an_install_line_takes_the_place_of_the_module(tmp_path: Path) -> None:
    found = account(tmp_path, "user", "install user /bin/false\ninstall us* /bin/true\n")
    assert outcome(found) == "runs"
    assert kinds(found) == {"install": "x.conf:1", "install-shadowed": "x.conf:1"}
    assert "a command runs in its stead: /bin/false" in as_text(found)


def test_an_alias_with_an_install_line_stands_for_its_modules(tmp_path: Path) -> None:
    found = account(tmp_path, "net-pf-9", "install net-pf-9 /sbin/modprobe -i user\nblacklist user\n")
    assert (outcome(found), found.verdict) == ("loads", "loaded")
    assert "it loads base, user" in as_text(found)


def test_an_alias_with_an_install_line_is_blocked_if_that_loads_nothing(tmp_path: Path) -> None:
    found = account(tmp_path, "net-pf-9", "install net-pf-9 /bin/true\n")
    assert (outcome(found), found.verdict) == ("runs", "not loaded")


def test_an_alias_with_an_install_line_is_unknown_if_that_may_load_its_module(tmp_path: Path) -> None:
    line = "install net-pf-9 test -f /run/anything && /sbin/modprobe user\n"
    assert account(tmp_path, "net-pf-9", line).verdict == "unknown"


def test_an_install_line_is_void_for_a_module_with_soft_dependencies(tmp_path: Path) -> None:
    found = account(tmp_path, "soft", "install soft /bin/false\n")
    assert outcome(found) == "loads"
    assert kinds(found) == {"install-ignored": "modules.softdep:2"}
    assert "x.conf:1) is not run" in as_text(found)


def test_only_the_first_softdep_line_counts(tmp_path: Path) -> None:
    found = account(tmp_path, "soft", "softdep soft pre: user\n")
    assert kinds(found) == {"softdep-shadowed": "modules.softdep:2"}
    assert "x.conf:1" in as_text(found)


def test_a_soft_dependency_nobody_knows_is_told(tmp_path: Path) -> None:
    assert kinds(account(tmp_path, "base", "softdep base post: ghost\n")) == {"softdep-unknown": "x.conf:1"}


def test_options_name_their_line(tmp_path: Path) -> None:
    assert "options debug=1 (" in as_text(account(tmp_path, "user", "options user debug=1\n"))


def test_nothing_answers_but_something_is_near(tmp_path: Path) -> None:
    found = account(tmp_path, "usr")
    assert found.targets == ()
    assert [note.kind for note in found.notes] == ["not-found", "similar"]
    assert as_text(found).startswith("usr: not found\n  ! no module, alias")


def test_a_tree_without_indexes_is_told(tmp_path: Path) -> None:
    (tmp_path / "lib/modules/6.1").mkdir(parents=True)
    with pytest.raises(NotFoundError, match=r"6\.1: has no modules\.dep\.bin: run depmod 6\.1"):
        explain(Context(Tree.open(tmp_path, "6.1")), "user", KernelFacts())


def test_a_file_that_is_no_module(tmp_path: Path) -> None:
    tree = context(tmp_path, base=BASE, user=USER)
    (tmp_path / "lib/modules/4.4.4/kernel/base.ko").write_bytes(b"not an ELF file")
    found = explain(tree, "user", KernelFacts())
    assert outcome(found) == "fails"
    assert kinds(found, 0) == {"unreadable": "None"}


def test_symbols_are_resolved_against_the_kernel_if_it_is_known(tmp_path: Path) -> None:
    user = module(name="user", needs=["printk", "_prink"])
    nobody_knows = account(tmp_path, "user", user=user)
    assert outcome(nobody_knows) == "loads"
    known = KernelFacts(
        exports={
            "printk": ExportedSymbol("printk", "vmlinux"),
            "_printk": ExportedSymbol("_printk", "vmlinux"),
        }
    )
    found = account(tmp_path, "user", kernel=known, user=user)
    assert outcome(found) == "fails"
    assert kinds(found) == {"symbol-unknown": "None"}
    assert "! _prink: nobody exports it; there is _printk" in as_text(found)


def test_a_version_that_disagrees(tmp_path: Path) -> None:
    found = account(tmp_path, "user", user=module(name="user", needs=["base_fn"], crcs={"base_fn": 8}))
    assert outcome(found) == "fails"
    assert "base_fn: exported with another version by base: 0x00000007, built against 0x00000008" in as_text(
        found
    )


def test_a_proprietary_module_does_not_see_gpl_exports(tmp_path: Path) -> None:
    user = module(name="user", needs=["base_fn"], license_="Proprietary")
    found = account(tmp_path, "user", base=module(gpl=("base_fn",)), user=user)
    assert kinds(found) == {"symbol-gpl-only": "None"}


def test_a_file_outside_the_tree_brings_no_dependencies(tmp_path: Path) -> None:
    path = tmp_path / "stranger.ko"
    path.write_bytes(module(name="stranger", needs=["base_fn"]))
    found = explain(context(tmp_path, base=BASE), str(path), KernelFacts())
    assert outcome(found) == "fails"
    assert "base_fn: exported by base, which would not be loaded before it" in as_text(found)


def test_vermagic_shows_the_words_that_differ(tmp_path: Path) -> None:
    user = module("vermagic=4.4.4 SMP mod_unload aarch64 ", name="user")
    found = account(tmp_path, "user", kernel=KernelFacts(vermagic=VERMAGIC), user=user)
    assert outcome(found) == "fails"
    assert "built for another kernel: +aarch64 -preempt -modversions" in as_text(found)


def test_missing_firmware_is_told(tmp_path: Path) -> None:
    user = module("firmware=a.bin", "firmware=b.bin", name="user")
    (tmp_path / "a.bin").write_bytes(b"")
    found = account(tmp_path, "user", kernel=KernelFacts(firmware_directories=(str(tmp_path),)), user=user)
    assert outcome(found) == "loads"
    assert "firmware it may ask for is not there: b.bin\n" in as_text(found)


@pytest.mark.parametrize(("trusted", "expected"), [(True, "loads"), (False, "fails")])
def test_signatures_are_checked_by_certificates(tmp_path: Path, *, trusted: bool, expected: str) -> None:
    user = signing.sign(module(name="user"), signing.signer())
    assert "signed by Example key (sha256)\n" in as_text(account(tmp_path, "user", user=user))
    certificates = [signing.signer().certificate] if trusted else []
    found = account(tmp_path, "user", kernel=KernelFacts(certificates=certificates), user=user)
    assert outcome(found) == expected


def test_json_has_it_all(tmp_path: Path) -> None:
    value = json.loads(json.dumps(as_object(account(tmp_path, "net-pf-9", "blacklist base\n"))))
    assert value["word"] == "net-pf-9"
    (target,) = value["targets"]
    assert (target["module"], target["outcome"]) == ("user", "loads")
    base, user = target["steps"]
    assert base["notes"][0]["kind"] == "blacklist-ignored"
    assert base["notes"][0]["source"].endswith("x.conf:1")
    assert user["action"] == "insmod"
