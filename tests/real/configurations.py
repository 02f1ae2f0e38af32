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


def of_seed(seed: int) -> Scenario:
    """Return the configuration of a seed: of one kind or of the other."""
    return denials(Random(seed)) if seed % 5 in {1, 3} else scenario(Random(seed))


def denials(dice: Random) -> Scenario:
    """Return a configuration of lines that deny modules, and of lines that undo it."""
    files: dict[str, str] = {}
    for _ in range(dice.choice([1, 1, 2, 3])):
        directory = dice.choice(["etc"] * 4 + ["run", "usr/lib", "usr/local/lib"])
        name = dice.choice(["00.conf", "a.conf", "b.conf", "modules.softdep.conf", "zz.conf"])
        lines = [_denial(dice) if dice.random() < 0.6 else _undoing(dice) for _ in range(dice.randint(1, 6))]
        files[f"{directory}/modprobe.d/{name}"] = "".join(f"{line}\n" for line in lines)
    cmdline = dice.choice(("",) * 6 + ("modprobe.blacklist=user,lone", "module_blacklist=base,other"))
    return Scenario("denials by chance", files, _word(dice, files), "", cmdline=cmdline)


def _denial(dice: Random) -> str:
    name = dice.choice(_EVERY)
    spelled = dice.choice([name, name, name.replace("_", "-"), f"{name[:2]}*", f"[{name[0]}x]{name[1:]}"])
    return dice.choice(
        [
            *[f"blacklist {name}", f"blacklist {name.replace('_', '-')}"],
            *[
                f"install {spelled} {command}"
                for command in ("/bin/false", "/bin/true", "exit 1", "true; false")
            ],
            *[f"alias {word} off" for word in (name, f"al-{name}", "al-*", "net-pf-*", "al-[b-m]*", "*")],
            *[f"alias {word} ghost" for word in (name, "symbol:*", "symbol:mid_fn")],
            *[f"softdep {name} pre:", f"softdep {spelled} post:", "options al-user debug=much"],
        ]
    )


def _undoing(dice: Random) -> str:
    name, other = dice.choice(_EVERY), dice.choice(_EVERY)
    word = dice.choice([other, f"al-{other.partition('_')[0]}", "new", "newer", "net-pf-9", "symbol:base_fn"])
    first = dice.choice(["", "true && ", "false || ", f"/sbin/modprobe {word} && ", f"modprobe -q {word}; "])
    load = f"{first}/sbin/modprobe {dice.choice(['-i', '--ignore-install', '-q -i', '', '-b'])} {other}"
    return dice.choice(
        [
            *[f"alias {word} {name}", f"alias new {name}", "alias newer new", f"alias al-* {name}"],
            *[f"alias {name} {word}", f"alias {name} {name}", f"alias net-pf-* {name}", "alias al-m?d lone"],
            *[
                f"install {name} {load}",
                f"install {word} {load}",
                f"install new {load}",
                f"install al-* {load}",
            ],
            *[
                f"install {name} /sbin/modprobe -i {name}{end}"
                for end in ("", " && true", " $CMDLINE_OPTS; false")
            ],
            *[f"softdep {name} pre: {word} {other} post: new", f"softdep {name[:2]}* post: {word}"],
            *[f"softdep {name} pre: {word}", f"weakdep {name} {other}", f"options {name} debug=1 x"],
            *[f"remove {name} /bin/true", f"remove new {load}", f"options {word} $(modprobe {other})"],
        ]
    )


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
