"""Each line that does not do what it says is found, with its place and its fix; good lines are not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.kmod.predict import images
from tests.kmod.predict.scenarios import MODPROBE

from ukmod.errors import LimitError
from ukmod.kmod import lint as kmod_lint
from ukmod.kmod.config import Alias, Source
from ukmod.kmod.lint import Finding, lint, patterns
from ukmod.kmod.lint.patterns import PatternLines
from ukmod.kmod.objections import Inspector, KernelFacts
from ukmod.kmod.system import System
from ukmod.kmod.tree import Tree
from ukmod.kmod.wildcard import fnmatch


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return images.make(tmp_path_factory.mktemp("image"))


def found(image: Path, files: Mapping[str, str], cmdline: str = "quiet") -> list[Finding]:
    images.configure(image, files)
    tree = Tree.open(image)
    system = System.of(tree, str(image), cmdline)
    return lint(system.context(), Inspector(tree, KernelFacts()), boots=system.boots)


def in_file(image: Path, text: str) -> list[tuple[str, int, str]]:
    """Return (kind, line, fix) of what is wrong with one file."""
    findings = found(image, {"etc/modprobe.d/x.conf": text})
    assert {one.source.file for one in findings} <= {f"{image}/etc/modprobe.d/x.conf"}
    return [(one.kind, one.source.line, one.fix.replace(str(image), "")) for one in findings]


CONF = "/etc/modprobe.d/x.conf"
IMAGE_ONLY = "boot with initcall_blacklist= and the init function of bi, or use a kernel without it"
ALIAS_OFF = "remove the line, or use install user /bin/false if it is to be kept out"
EMPTY_SOFTDEP = "put 'softdep soft pre:' into a file that sorts before modules.softdep, such as a.conf"
NO_BACKSLASH = "remove the backslash at the end of the line before"
NOTHING = "nothing is to be done, if the name is right"
WRONG = {
    # what modprobe refuses
    "\ufeffblacklist user\n": ("byte-order-mark", 1, rf"sed -i '1s/^\xEF\xBB\xBF//' {CONF}"),
    "# x\nBlacklist user\n": ("letter-case", 2, "blacklist user"),
    "blacklst user\n": ("unknown-directive", 1, "write blacklist"),
    "deny user\n": ("unknown-directive", 1, "make it a comment, with # in the first column"),
    "install user\n": ("incomplete", 1, "write: install MODULE COMMAND"),
    "blacklist\n": ("incomplete", 1, "write: blacklist MODULE"),
    "include /etc/x\n": ("old-directive", 1, "put the lines themselves into a file of modprobe.d"),
    "  # x\n": ("indented-comment", 1, "# x"),
    # what it takes otherwise than it looks
    "blacklist other\r\n": ("carriage-return", 1, rf"sed -i 's/\r$//' {CONF}"),
    "# see \\\nblacklist user\n": ("continuation", 2, NO_BACKSLASH),
    "alias x user \\\nblacklist user\n": ("continuation", 2, NO_BACKSLASH),
    "blacklist us\\er\n": ("backslash", 1, "blacklist user"),
    "alias x user\nblacklist user\\": ("backslash", 2, "blacklist user"),
    "blacklist user other\n": ("extra-words", 1, "blacklist user; blacklist other"),
    "install user other /bin/false\n": (
        "extra-words", 1, "install user /bin/false; install other /bin/false",
    ),
    "alias x user other\n": ("extra-words", 1, "alias x user"),
    # what matches nothing
    "blacklist usr\n": ("unknown-module", 1, "blacklist user, if that is meant"),
    "blacklist zzz\n": ("unknown-module", 1, NOTHING),
    "blacklist user.ko.xz\n": ("file-name", 1, "blacklist user"),
    "blacklist kernel/net/user.ko\n": ("file-name", 1, "blacklist user"),
    "blacklist so*\n": ("pattern", 1, "blacklist soft"),
    "blacklist al-user\n": ("alias-name", 1, "blacklist user"),
    "blacklist net-pf-9\n": ("alias-name", 1, "blacklist user; blacklist lone"),
    "install usr /bin/false\n": ("unknown-module", 1, "install user, if that is meant"),
    "install zz* /bin/false\n": ("unknown-module", 1, NOTHING),
    "options usr debug=1\n": ("unknown-module", 1, "options user, if that is meant"),
    "alias x usr\n": ("unknown-module", 1, "alias user, if that is meant"),
    "alias x y\nalias y user\n": ("alias-chain", 1, "name the module"),
    "alias user other\n": ("diverted", 1, ALIAS_OFF),
    # what has no effect here
    "blacklist bi\n": (
        "built-in", 1, IMAGE_ONLY,
    ),
    "install bi /bin/false\n": (
        "built-in", 1, IMAGE_ONLY,
    ),
    "options bi x=1\n": ("built-in", 1, "boot with bi.PARAMETER=VALUE"),
    "install soft /bin/false\n": (
        "install-ignored", 1, EMPTY_SOFTDEP,
    ),
    f"install user {MODPROBE} -i user\ninstall user /bin/false\n": (
        "shadowed", 2, f"remove one of them, or put this line into a file that comes before {CONF}",
    ),
    "install * /bin/true\ninstall user /bin/false\n": (
        "shadowed", 2, f"remove one of them, or put this line into a file that comes before {CONF}",
    ),
    "softdep soft post: lone\n": (
        "shadowed", 1, "put it into a file whose name sorts before that, with all dependencies in one line",
    ),
    "softdep user zzz\n": ("empty-softdep", 1, "softdep user pre: MODULE"),
    "softdep user pre: zzz\n": ("softdep-unknown", 1, NOTHING),
    "options user debug=1 # more\n": ("comment-in-options", 1, "options user debug=1"),
    "options user debg=1\n": ("parameter-unknown", 1, "debug may be meant; see modinfo -p user"),
    "options user debug=yes\n": ("parameter-value", 1, "see modinfo -p user"),
}  # fmt: skip


@pytest.mark.parametrize("text", WRONG)
def test_a_line_that_does_not_do_what_it_says_is_found(image: Path, text: str) -> None:
    assert WRONG[text] in in_file(image, text)
    assert len(in_file(image, text)) == 1


@pytest.mark.parametrize(
    "text",
    [
        "# a comment\n\nblacklist user\nblacklist dash-name # and why\n",
        "install user /bin/false\ninstall net-pf-9 /bin/true\ninstall us* /bin/false\n",
        "options user debug=1 dyndbg=+p\noptions al-user debug=2\noptions other async_probe\n".replace(
            " \\\n x=1", " async_probe"
        ),
        "alias x user\nalias al-user off\nalias pci:v*d* lone\nsoftdep user pre: lone post: other\n",
        "softdep user pre:\n",
        "remove user /bin/true\nweakdep user other\n",
    ],
)
def test_a_good_line_is_left_alone(image: Path, text: str) -> None:
    assert in_file(image, text) == []


@pytest.mark.parametrize(
    ("files", "kind", "file"),
    [
        ({"etc/modprobe.d/x": "blacklist user\n"}, "not-conf", "etc/modprobe.d/x"),
        ({"etc/modprobe.d/x.alias": "blacklist user\n"}, "old-suffix", "etc/modprobe.d/x.alias"),
        ({"etc/modprobe.d/.x.conf": "blacklist user\n"}, "hidden-name", "etc/modprobe.d/.x.conf"),
        ({"etc/modprobe.d/d/x.conf": "blacklist user\n"}, "directory", "etc/modprobe.d/d"),
        ({"etc/modprobe.conf": "blacklist user\n"}, "not-conf", "etc/modprobe.conf"),
        ({"etc/modprobe.d/x.conf": "-> /nowhere"}, "unreadable", "etc/modprobe.d/x.conf"),
        (
            {"etc/modprobe.d/x.conf": "", "usr/lib/modprobe.d/x.conf": "blacklist user\n"},
            "hidden",
            "usr/lib/modprobe.d/x.conf",
        ),
        (
            {"run/modprobe.d/x.conf": "-> /dev/null", "usr/local/lib/modprobe.d/x.conf": "blacklist user\n"},
            "hidden",
            "usr/local/lib/modprobe.d/x.conf",
        ),
    ],
)
def test_a_file_that_is_not_read_is_found(
    image: Path, files: Mapping[str, str], kind: str, file: str
) -> None:
    (image / "etc/modprobe.d").mkdir(parents=True, exist_ok=True)
    (finding,) = found(image, {"etc/modprobe.d/a.conf": "", **files})
    assert (finding.kind, str(finding.source)) == (kind, f"{image}/{file}")


def test_a_file_that_says_nothing_may_have_any_name(image: Path) -> None:
    assert found(image, {"etc/modprobe.d/README": "Files here are read by modprobe.\n"}) == []
    (backup,) = found(image, {"etc/modprobe.d/x.conf.bak": "blacklist user\n"})
    assert backup.severity == "note"


@pytest.mark.parametrize(
    ("cmdline", "kind", "fix"),
    [
        ("modprobe.blacklist=dash-name", "spelling", "modprobe.blacklist=dash_name"),
        ("module_blacklist=lone,dash-name", "spelling", "module_blacklist=lone,dash_name"),
        ("module_blacklist=usr", "unknown-module", "module_blacklist user, if that is meant"),
        ("module_blacklist=user module_blacklist=lone", "shadowed", "module_blacklist=user,lone"),
        ("user.debg=1", "parameter-unknown", "debug may be meant; see modinfo -p user"),
        ("user.debug=x", "parameter-value", "see modinfo -p user"),
    ],
)
def test_the_kernel_s_command_line_is_looked_at(image: Path, cmdline: str, kind: str, fix: str) -> None:
    (finding,) = found(image, {}, f"quiet {cmdline} splash")
    assert (finding.kind, finding.fix, str(finding.source)) == (kind, fix, "--cmdline")


def test_a_finding_as_text(image: Path) -> None:
    (finding,) = found(image, {"etc/modprobe.d/x.conf": "Blacklist  user\n"})
    assert str(finding) == (
        f"{image}/etc/modprobe.d/x.conf:1: error: there is no directive Blacklist: small letters are meant\n"
        "    Blacklist  user\n"
        "  fix: blacklist  user"
    )


@pytest.mark.parametrize("name", ["a", "ab", "b", "c*", "c1", "xyz", "", "[ab]", "\\a"])
def test_the_first_line_is_the_one_that_a_look_at_each_would_find(name: str) -> None:
    patterns = ["ab", "a*", "b", "c*", "[ab]", "c1", "x?z", "xyz", "b", "\\a"]
    lines = [Alias(one, "m", Source("f", number)) for number, one in enumerate(patterns)]
    naive = next((one.source for one in lines if one.pattern == name or fnmatch(one.pattern, name)), None)
    assert PatternLines(lines).first(name) == naive


@pytest.mark.parametrize(
    "text",
    [
        "options user x=1\n" * 1001,
        "".join(f"alias *{n}q m{n}\n" for n in range(100)),
        "".join(f"install *z{n}q /bin/true\n" for n in range(100)),
        "".join(f"softdep ?{n} pre: m{n}\n" for n in range(100)),
    ],
    ids=["lines", "aliases", "commands", "soft dependencies"],
)
def test_a_configuration_without_end_is_refused(
    image: Path, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patterns, "MOST_COMPARISONS", 1000)
    monkeypatch.setattr(kmod_lint, "MOST_LINES", 1000)
    with pytest.raises(LimitError, match="more than"):
        found(image, {"etc/modprobe.d/x.conf": text})


def test_a_deny_list_of_all_modules_is_none(image: Path) -> None:
    text = "".join(f"install m{n} /bin/false\nblacklist m{n}\n" for n in range(1500))
    assert {one.kind for one in found(image, {"etc/modprobe.d/x.conf": text})} == {"unknown-module"}
