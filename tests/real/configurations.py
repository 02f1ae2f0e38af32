"""Configurations by chance, from the words that modprobe.d has and the mistakes that people make in it."""

from __future__ import annotations

import re
from random import Random

from tests.kmod.predict.scenarios import BUILTIN, MODULES, Scenario

_NAMES = tuple(MODULES)
_EVERY = (*_NAMES, *BUILTIN, "ghost")
_USERS = {"base": "user", "mid": "user"}
_MODPROBE = ("modprobe", "/sbin/modprobe", "/sbin/modprobe")
_OPTIONS = (
    *("-i", "--ignore-install", "--ignore-install", "-i -q", "-qi", "", "-v --ignore-install", "-i -b", "-b"),
    *("-i -a", "-a -i", "-n -i", "-r", "-q", "--first-time -i", "-D", "-i -C /etc/alt.conf", "--ignore"),
    *("-f -i", "-i -s", "-R", "--nosuch", "-i -S 4.4.4", "-i -S 5.5.5", "-i -d /"),
)
_BEFORE = (
    *(("",) * 6),
    *("exec ", "env ", "nice ", "nice -n 5 ", "command ", "env A=b ", "! ", "nohup ", "a=1 "),
)
_BEHIND = (
    *(("",) * 4),
    *(" $CMDLINE_OPTS", " a=1", " -i", " >/dev/null 2>&1", " 2>/dev/null", " && true", " || true"),
    *(" ; true", "; exit 0", "; :", " &&:"),
)
_SIMPLE = (
    *(
        "/bin/false",
        "/bin/true",
        "false",
        "true",
        "exit 0",
        "exit 1",
        "exit 3",
        ":",
        "echo hi",
        "/bin/echo a",
    ),
    *("", "/bin/flase", "nosuch", "printf x", "test a = b", "[ a = a ]", '[ -n "$MODPROBE_MODULE" ]'),
    *("grep -q foo /dev/null", "logger x", "echo 'a b'", "cat /etc/nosuch", "! true", "! false", "x=1"),
    *("exec true", "exec /bin/false", "env true", "nice /bin/false", "command true", "true # c", "#false"),
    *('echo "x', "true )", "$NOSUCH true", "echo $((1+1))", "while false; do :; done", "kill $$"),
    *("test -e /etc/nosuch", "cd /tmp && true", "command -v modprobe", "echo a >/nosuch/file", "x=`false`"),
)
_ODD_LINES = (
    *("\ufeffblacklist user", "blacklist", "install user", "include x", "foo bar", "blacklist user\\", ""),
    *("blacklist \\\n user", "blacklist u\\ser", "  # user", "softdep user", "weakdep user other", "\r"),
)
_DIRECTIVES = ("blacklist",) * 3 + ("install",) * 8 + ("softdep",) * 2 + ("alias",) * 2 + ("other",) * 3
_COMMAND_LINES = ("",) * 5 + ("modprobe.blacklist=user,lone", "modprobe.blacklist=bi-two user.a=1")


def scenario(dice: Random) -> Scenario:
    """Return a configuration and a word; the verdict is for the C modprobe to say."""
    files: dict[str, str] = {}
    for _ in range(dice.choice([1, 1, 1, 2, 3])):
        directory = dice.choice(["etc"] * 4 + ["run", "usr/lib", "usr/local/lib"])
        name = dice.choice(["a.conf", "a.conf", "b.conf", "zz.conf", "a.txt", ".h.conf"])
        files[f"{directory}/modprobe.d/{name}"] = _lines(dice, dice.choice([1, 1, 2, 2, 3, 4]))
    if dice.random() < 0.1:
        files["etc/modprobe.d/a.conf"] = "-> /dev/null"
    files["etc/alt.conf"] = _lines(dice, dice.choice([0, 0, 0, 2]))
    options = {"cmdline": dice.choice(_COMMAND_LINES), "use_blacklist": dice.random() < 0.1}
    return Scenario("by chance", files, _word(dice, files), "", **options)  # type: ignore[arg-type]


def _word(dice: Random, files: dict[str, str]) -> str:
    text = "".join(files.values())
    named = [
        name for name in re.findall(r"(?:install|blacklist|alias|softdep) (\w+)", text) if name in _EVERY
    ]
    if not named or dice.random() < 0.2:
        return dice.choice([*_EVERY, *(f"al-{name}" for name in _NAMES), "net-pf-9", "new"])
    name = dice.choice(named)
    name = _USERS.get(name, name) if dice.random() < 0.4 else name
    return f"al-{name}" if name in _NAMES and dice.random() < 0.25 else name


def _lines(dice: Random, count: int) -> str:
    return "".join(_line(dice) + "\n" for _ in range(count))


def _line(dice: Random) -> str:
    name = dice.choice(_EVERY)
    directive = dice.choice(
        ["blacklist"] * 3 + ["install"] * 8 + ["softdep"] * 2 + ["alias"] * 2 + ["other"] * 3
    )
    if directive == "blacklist":
        word = dice.choice(["blacklist"] * 4 + ["Blacklist", "  blacklist"])
        spelled = [
            *[name] * 3,
            f"{name}.ko",
            f"al-{name}",
            name.replace("_", "-"),
            f"{name} other",
            f"{name}*",
        ]
        return f"{word} {dice.choice(spelled)}{dice.choice(['', '', '', chr(13), ' # x', ' '])}"
    if directive == "install":
        patterns = [*[name] * 20, f"{name[:2]}*", "*", f"?{name[1:]}", f"[a-z]{name[1:]}", name.upper()]
        return (
            f"install {dice.choice(patterns)} {_command(dice, name)}{dice.choice([''] * 8 + [chr(13), ' '])}"
        )
    if directive == "softdep":
        post = dice.choice(["", f"post: {dice.choice(_EVERY)}"])
        return f"softdep {name} {dice.choice(['pre:', 'post:'])} {dice.choice([*_EVERY, ''])} {post}"
    if directive == "alias":
        alias = dice.choice([f"al-{name}", "net-pf-9", "al-*", name, "new"])
        return f"alias {alias} {dice.choice([*_EVERY, 'off'])}"
    return dice.choice(
        [
            f"options {name} {dice.choice(['a=1', 'x y # z', '', 'b'])}",
            f"remove {name} /bin/true",
            *_ODD_LINES,
        ]
    )


def _command(dice: Random, own: str, depth: int = 0) -> str:
    """Return a command for a module, of commands within commands."""
    name = own if dice.random() < 0.6 else dice.choice(_EVERY)
    modprobe = dice.choice(_MODPROBE)
    kind = dice.random()
    if kind < 0.3 or depth > 2:
        return dice.choice([*_SIMPLE, f"echo `modprobe -i {name}`", f"set -e; false; modprobe -i {name}"])
    if kind < 0.62:
        spelled = [name] * 3 + ["$MODPROBE_MODULE", '"$MODPROBE_MODULE"', f"'{name}'", name.replace("_", "-")]
        words = f"{modprobe} {dice.choice(_OPTIONS)} {dice.choice(spelled)}"
        return f"{dice.choice(_BEFORE)}{words}{dice.choice(_BEHIND)}"
    first = _command(dice, own, depth + 1)
    if kind < 0.72:
        return f"{first} {dice.choice(['&&', '||', ';', '|'])} {_command(dice, own, depth + 1)}"
    quoted = first.replace("'", "") if "'" in first else first
    return dice.choice(
        [
            f"{{ {first}; }}",
            f"( {first} )",
            f"if {first}; then {_command(dice, own, depth + 1)}; fi",
            f"if {first}; then true; else {_command(dice, own, depth + 1)}; fi",
            f"sh -c '{quoted}'",
            f"m={name}; {modprobe} -i $m",
            f"for m in {name} {dice.choice(_EVERY)}; do {modprobe} -i $m; done",
            f"rmmod {name}; {first}",
            f"insmod /lib/modules/4.4.4/kernel/{name}.ko",
            f"eval {first}",
        ]
    )
