"""Is it really blocked? Configurations that people write, and what the C modprobe makes of them.

Each has been run: ``tests/real/test_blocked.py`` runs them again, in a root with the C modprobe. ``verdict``
is what ``ukmod explain`` has to say; "unknown" is for what cannot be known without running a program.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.kmod.moduletree import module

LOADED, BLOCKED, UNKNOWN, NOT_FOUND = "loaded", "not loaded", "unknown", "not found"


@dataclass(frozen=True)
class Scenario:
    """A configuration, by paths below the root, and a word. A text that begins with "-> " is a link."""

    name: str
    files: Mapping[str, str]
    word: str
    verdict: str
    cmdline: str = ""
    use_blacklist: bool = False
    kinds: tuple[str, ...] = field(default=())
    """Kinds of notes that the account must have."""


def _one(name: str, text: str, word: str, verdict: str, *kinds: str, **more: object) -> Scenario:
    files = {"etc/modprobe.d/x.conf": text}
    return Scenario(name, files, word, verdict, kinds=kinds, **more)  # type: ignore[arg-type]


def _install(name: str, command: str, verdict: str, word: str = "user") -> Scenario:
    return _one(f"install: {name}", f"install user {command}\n", word, verdict, "install")


def judged(
    *fields: str, name: str, needs: Mapping[str, str] | None = None, exports: Mapping[str, int] | None = None
) -> bytes:
    """Return a module that both the judge and ukmod understand; ``needs`` are symbols and their modules."""
    needs = needs or {}
    said = [f"judged_needs={','.join(dict.fromkeys(needs.values()))}", f"judged_name={name}"]
    return module(*fields, *said, name=name, needs=list(needs), exports=exports or {})


MODULES = {
    "base": judged("alias=al-base", name="base", exports={"base_fn": 7}),
    "mid": judged("alias=al-mid", name="mid", needs={"base_fn": "base"}, exports={"mid_fn": 8}),
    "user": judged(
        "alias=al-user",
        "alias=net-pf-9",
        "parmtype=debug:int",
        name="user",
        needs={"base_fn": "base", "mid_fn": "mid"},
    ),
    "other": judged("alias=al-other", name="other"),
    "lone": judged("alias=net-pf-9", "alias=al-lone", name="lone"),
    "soft": judged("alias=al-soft", "softdep=pre: other", name="soft"),
    "dash_name": judged("alias=al-dash", name="dash_name"),
}
BUILTIN = ("bi", "bi_two")

MODPROBE = "/sbin/modprobe"
LOADS_USER = f"install user {MODPROBE} -i user\n"
TREE = "/lib/modules/4.4.4/kernel"

SCENARIOS = (
    # A blacklist line closes the way by an alias, and no other
    _one("nothing said", "", "user", LOADED),
    _one("blacklist, by name", "blacklist user\n", "user", LOADED, "blacklist-ignored"),
    _one("blacklist, by alias", "blacklist user\n", "al-user", BLOCKED, "blacklist"),
    _one("blacklist, by one alias of two modules", "blacklist user\n", "net-pf-9", BLOCKED, "blacklist"),
    _one("blacklist, by name, with -b", "blacklist user\n", "user", BLOCKED, use_blacklist=True),
    _one("blacklist of a dependency", "blacklist base\n", "user", LOADED, "blacklist-ignored"),
    _one("blacklist of a dependency, -b", "blacklist base\n", "user", LOADED, use_blacklist=True),
    _one("blacklist of a soft dependency", "blacklist other\n", "soft", LOADED, "blacklist-ignored"),
    _one("blacklist with a dash", "blacklist dash-name\n", "al-dash", BLOCKED),
    _one("a name with a dash", "install dash-name /bin/false\n", "dash-name", BLOCKED),
    _one("a name with a dash, the line without", "install dash_name false\n", "dash-name", BLOCKED),
    _one("blacklist of a built-in module", "blacklist bi\n", "bi", LOADED, "builtin", "blacklist-ignored"),
    _one("install of a built-in module", "install bi /bin/false\n", "bi", LOADED, "install-ignored"),
    _one("modprobe.blacklist=", "", "al-user", BLOCKED, cmdline="quiet modprobe.blacklist=lone,user"),
    _one("modprobe.blacklist= with a dash", "", "al-dash", LOADED, cmdline="modprobe.blacklist=dash-name"),
    _one("modprobe.blacklist= as it is", "", "al-dash", BLOCKED, cmdline="modprobe.blacklist=dash_name"),
    _one("modprobe.blacklist= in quotes", "", "al-user", LOADED, cmdline='modprobe.blacklist="lone,user"'),
    # An install line for a dependency
    _one("a dependency that fails", "install base /bin/false\n", "user", BLOCKED, "install", "not-reached"),
    _one("a dependency that is not loaded", "install base /bin/true\n", "user", BLOCKED, "symbol-not-loaded"),
    _one("a dependency by a pattern", "install ba* /bin/false\n", "user", BLOCKED),
    _one("a dependency that its command loads", f"install base {MODPROBE} -i base\n", "user", LOADED),
    _one("an alias to it", "install base /bin/false\nalias new user\n", "new", BLOCKED),
    _one("a chain of aliases", "alias one two\nalias two user\n", "one", BLOCKED, "missing"),
    _one("a soft dependency on it", "softdep lone pre: user\ninstall base /bin/false\n", "lone", LOADED),
    _one("a soft dependency that is built in", "softdep lone pre: bi\n", "lone", LOADED),
    _one("a soft dependency that fails", "softdep lone pre: other\ninstall other false\n", "lone", LOADED),
    _one("a dependency that has one", "softdep base pre: other\ninstall base false\n", "user", LOADED),
    # An install line that softdep makes void
    _one("install and softdep", "install soft /bin/false\n", "soft", LOADED, "install-ignored"),
    _one("an empty softdep before it", "install soft /bin/false\nsoftdep soft pre:\n", "soft", LOADED),
    Scenario(
        "an empty softdep in a file whose name comes first",
        {"etc/modprobe.d/a.conf": "softdep soft pre:\ninstall soft /bin/false\n"},
        "soft",
        BLOCKED,
    ),
    # Aliases
    _one("alias off", "alias al-user off\n", "al-user", BLOCKED, "missing"),
    _one("alias off, by name", "alias user off\n", "user", BLOCKED, "diverted"),
    _one("an alias to another module", "alias user other\n", "user", BLOCKED, "diverted"),
    _one("an alias to itself", "alias user user\nblacklist user\n", "user", BLOCKED, "blacklist"),
    _one("an alias beside it", "alias user user\nalias user other\n", "user", LOADED),
    _one("a pattern for all", "alias al-* off\n", "al-user", BLOCKED),
    # What install commands do
    _install("/bin/false", "/bin/false", BLOCKED),
    _install("/bin/true", "/bin/true", BLOCKED),
    _install("a program that is not there", "/bin/flase", BLOCKED),
    _install("modprobe -i", f"{MODPROBE} -i user", LOADED),
    _install("modprobe --ignore-install", f"{MODPROBE} --ignore-install user", LOADED),
    _install("an abbreviated option", f"{MODPROBE} --ignore user", LOADED),
    _install("modprobe without a path", "modprobe -i user", LOADED),
    _install("options behind the name", f"{MODPROBE} user -i", LOADED),
    _install("options together", f"{MODPROBE} -qi user", LOADED),
    _install("options before and after", f"{MODPROBE} -q user --ignore-install debug=1", LOADED),
    _install("$CMDLINE_OPTS", f"{MODPROBE} --ignore-install user $CMDLINE_OPTS", LOADED),
    _install("$MODPROBE_MODULE", f'{MODPROBE} -i "$MODPROBE_MODULE"', LOADED),
    _install("a variable", f"m=user; {MODPROBE} -i $m", LOADED),
    _install("a variable of the environment", f"{MODPROBE} -i $NOBODY_KNOWS_IT", UNKNOWN),
    _install("|| true", f"{MODPROBE} -i user || true", LOADED),
    _install("; false", f"{MODPROBE} -i user; false", LOADED),
    _install("; true", f"{MODPROBE} --ignore-install user ; /bin/true", LOADED),
    _install("echo &&", f"echo loading && {MODPROBE} -i user", LOADED),
    _install("false &&", f"/bin/false && {MODPROBE} -i user", BLOCKED),
    _install("false ||", f"/bin/false || {MODPROBE} -i user", LOADED),
    _install("true ||", f"/bin/true || {MODPROBE} -i user", BLOCKED),
    _install("another module first", f"{MODPROBE} other; {MODPROBE} -i user", LOADED),
    _install("another module that is not there", f"{MODPROBE} ghost && {MODPROBE} -i user", BLOCKED),
    _install("another module alone", f"{MODPROBE} other", BLOCKED),
    _install("a group", f"{{ {MODPROBE} -i user; }}", LOADED),
    _install("a group as ALSA has it", f"{MODPROBE} -i user && {{ {MODPROBE} -q other; : ; }}", LOADED),
    _install("a subshell", f"( exit 1 ) || ( {MODPROBE} -i user )", LOADED),
    _install("exit", f"exit 0; {MODPROBE} -i user", BLOCKED),
    _install("exec", f"exec {MODPROBE} -i user", LOADED),
    _install("exec of something else", f"exec /bin/true; {MODPROBE} -i user", BLOCKED),
    _install("sh -c", f'sh -c "{MODPROBE} -i user"', LOADED),
    _install("/bin/sh -c with a parameter", f"/bin/sh -c '{MODPROBE} -i \"$1\"' sh user", LOADED),
    _install("eval", f"eval {MODPROBE} -i user", LOADED),
    _install("if", f"if true; then {MODPROBE} -i user; fi", LOADED),
    _install("else", f"if false; then {MODPROBE} -i user; else /bin/false; fi", BLOCKED),
    _install("test of texts", f"[ $MODPROBE_MODULE = user ] && {MODPROBE} -i user", LOADED),
    _install("a file that may be there", f"[ -e /etc/allow ] && {MODPROBE} -i user", UNKNOWN),
    _install("grep", f"grep -q allowed /proc/cmdline && {MODPROBE} -i user", UNKNOWN),
    _install("for", f"for m in other user; do {MODPROBE} -i $m; done", LOADED),
    _install("while", f"while true; do {MODPROBE} -i user; exit 0; done", UNKNOWN),
    _install("nice", f"nice -n 5 {MODPROBE} -i user", LOADED),
    _install("env", f"env LANG=C {MODPROBE} -i user", LOADED),
    _install("not", f"! {MODPROBE} -i user", LOADED),
    _install("in the background", f"{MODPROBE} -i user &", UNKNOWN),
    _install("a pipe", f"echo | {MODPROBE} -i user", LOADED),
    _install("output thrown away", f"{MODPROBE} -i user >/dev/null 2>&1", LOADED),
    _install("a command substitution", f"echo $({MODPROBE} -i user)", LOADED),
    _install("a comment behind it", f"{MODPROBE} -i user # says the vendor", LOADED),
    _install("a comment alone", f"# {MODPROBE} -i user", BLOCKED),
    _install("words in quotes", f"echo '; {MODPROBE} -i user'", BLOCKED),
    _install("a quote left open", f"echo 'it; {MODPROBE} -i user", BLOCKED),
    _install("dry run", f"{MODPROBE} -n -i user", BLOCKED),
    _install("--show-depends", f"{MODPROBE} -D -i user", BLOCKED),
    _install("insmod", f"/sbin/insmod {TREE}/user.ko", LOADED),
    _install("insmod of another", f"insmod {TREE}/lone.ko", BLOCKED),
    _one("insmod without dependencies", f"install lone insmod {TREE}/user.ko\nalias lone user\n",
         "lone", BLOCKED),
    _install("loaded, and unloaded", f"{MODPROBE} -i user; rmmod user", UNKNOWN),
    _install("an administrator's program", "/usr/local/bin/nobody-knows", BLOCKED),
    _install("set -e", f"set -e; false; {MODPROBE} -i user", UNKNOWN),
    # What ends a shell, and what one shell has and another has not
    _install("exec of a file that is not there", f"exec </nosuch; {MODPROBE} -i user", UNKNOWN),
    _install("a special command that cannot be redirected", f": 2>/nosuch/file; {MODPROBE} -i user", UNKNOWN),
    _install("another that cannot", f"true 2>/nosuch/file; {MODPROBE} -i user", LOADED),
    _install("a variable that has to be set", f": ${{x?}}; {MODPROBE} -i user", UNKNOWN),
    _install("a variable that is set by the way", "x=; : ${x:=modprobe}; $x -i user", UNKNOWN),
    _install("no expansion", f": ${{x!}}; {MODPROBE} -i user", UNKNOWN),
    _install("a default value", f"echo ${{x:-y}}; {MODPROBE} -i user", LOADED),
    _install("nice with no number", f"nice -n x {MODPROBE} -i user", UNKNOWN),
    _install("type", f"type nosuchprogram || {MODPROBE} -i user", UNKNOWN),
    _install("printf without a format", f"printf || {MODPROBE} -i user", UNKNOWN),
    _install("printf of no number", f"printf %d x || {MODPROBE} -i user", UNKNOWN),
    _install("printf of a text", f"printf x && {MODPROBE} -i user", LOADED),
    _install("wait for nothing", f"wait 77 || {MODPROBE} -i user", UNKNOWN),
    _install("umask of nothing", f"umask 999 || {MODPROBE} -i user", UNKNOWN),
    _install("taskset", f"taskset 1 {MODPROBE} -i user", UNKNOWN),
    _install("time, which bash has", f"time {MODPROBE} -i user", UNKNOWN),
    _install("|& of bash", f"{MODPROBE} -i user |& cat", UNKNOWN),
    _install("(( of bash", f"(( 1 )) || {MODPROBE} -i user", UNKNOWN),
    _install("an array of bash", f"x=(a b); {MODPROBE} -i user", UNKNOWN),
    _install("<( of bash", f"cat <(echo x); {MODPROBE} -i user", UNKNOWN),
    # What changes the files, or the kernel, that a modprobe behind it goes by
    _install("its own module removed", f"rm -f {TREE}/user.ko; {MODPROBE} -i user", UNKNOWN),
    _install("its own module moved away", f"mv {TREE}/user.ko /tmp/; {MODPROBE} -i user", UNKNOWN),
    _install("its own module overwritten", f"cp /dev/null {TREE}/user.ko; {MODPROBE} -i user", UNKNOWN),
    _install("a link in its place", f"ln -sf /dev/null {TREE}/user.ko; {MODPROBE} -i user", UNKNOWN),
    _install("its own module emptied", f": > {TREE}/user.ko; {MODPROBE} -i user", UNKNOWN),
    _install("no index", f"rm /lib/modules/4.4.4/modules.*; {MODPROBE} -i user", UNKNOWN),
    _install("no modprobe", f"rm /sbin/modprobe; {MODPROBE} -i user", UNKNOWN),
    _install("a line written", f"echo x >> /etc/modprobe.d/x.conf; {MODPROBE} lone", UNKNOWN),
    _install("a line by tee", f"echo x | tee /etc/modprobe.d/y.conf; {MODPROBE} lone", UNKNOWN),
    _install("a line edited", f"sed -i d /etc/modprobe.d/x.conf; {MODPROBE} -i user", UNKNOWN),
    _install("no modules from now on", f"sysctl -w kernel.modules_disabled=1; {MODPROBE} -i user", UNKNOWN),
    _install("the same without sysctl", f"echo 1 >/proc/sys/kernel/modules_disabled; {MODPROBE} -i user",
             UNKNOWN),
    _install("a file of no meaning", f"touch /var/lib/seen; {MODPROBE} -i user", LOADED),
    _install("a copy elsewhere", f"cp {TREE}/user.ko /tmp; {MODPROBE} -i user", LOADED),
    _install("a text written elsewhere", f"echo x >/tmp/x; {MODPROBE} -i user", LOADED),
    # What commands of the shell do behind another
    _install("command exit", f"command exit 1; {MODPROBE} -i user", UNKNOWN),
    _install("nice exit, which is no program", f"nice exit 1; {MODPROBE} -i user", UNKNOWN),
    _install("sh -c with an option", f"sh -c -e '{MODPROBE} -i user'", UNKNOWN),
    _install("! ! of bash", f"! ! true; {MODPROBE} -i user", UNKNOWN),
    _install("+= of bash", f"x+=y || {MODPROBE} -i user", UNKNOWN),
    _one("itself without -i", f"install user {MODPROBE} user\n", "user", UNKNOWN, "unknown"),
    _one("in a circle", f"install user {MODPROBE} lone\ninstall lone {MODPROBE} user\n", "user", UNKNOWN),
    _install("an option that modprobe does not have", f"{MODPROBE} --nosuch -i user", BLOCKED),
    _install("by an alias", f"{MODPROBE} -i user", LOADED, word="al-user"),
    _install("for a modprobe -b that it starts", f"{MODPROBE} -b -i user", LOADED),
    _one("both lines, -b", f"blacklist user\ninstall user {MODPROBE} -b -i user\n", "user", BLOCKED),
    _one("the first of two lines", f"{LOADS_USER}install user false\n", "user", LOADED, "install-shadowed"),
    _one("the other way", f"install user false\n{LOADS_USER}", "user", BLOCKED, "install-shadowed"),
    _one("two lines, the second for all", f"{LOADS_USER}install * /bin/false\n", "user", BLOCKED),
    _one("a line for an alias", f"install al-user {MODPROBE} -i user\nblacklist user\n", "al-user", LOADED),
    _one("a line for an alias that loads another", f"install al-user {MODPROBE} lone\n", "al-user", BLOCKED),
    _one("a command for a group", f"install both {MODPROBE} -a other lone\n", "both", BLOCKED),
    _one("a remove command", "remove user /bin/false\n", "user", LOADED),
    _one("a remove command for nothing", "remove ghost /bin/true\n", "ghost", BLOCKED, "missing"),
    # Lines that say nothing to modprobe
    _one("a byte order mark", "\ufeffinstall user /bin/false\n", "user", LOADED),
    _one("the wrong case", "Install user /bin/false\n", "user", LOADED),
    _one("carriage returns, blacklist", "blacklist user\r\n", "al-user", LOADED),
    _one("carriage returns, install", "install user /bin/false\r\n", "user", BLOCKED),
    _one("carriage returns, install true", "install base /bin/true\r\n", "user", BLOCKED),
    _one("a line that continues", "install user \\\n/bin/false\n", "user", BLOCKED),
    _one("a backslash at the end", "# see below \\\ninstall user /bin/false\n", "user", LOADED),
    _one("a backslash at the end of the file", "blacklist user\\", "al-user", LOADED),
    _one("a backslash within", "blacklist us\\er\n", "al-user", BLOCKED),
    _one("a comment behind a name", "blacklist user # never\n", "al-user", BLOCKED),
    _one("a comment with a blank before", "  # x\nblacklist user\n", "al-user", BLOCKED),
    _one("two names", "blacklist lone user\n", "al-user", LOADED),
    _one("a file's name", "blacklist user.ko\n", "al-user", LOADED),
    _one("an alias's name", "blacklist al-user\n", "al-user", LOADED),
    _one("a pattern", "blacklist use*\n", "al-user", LOADED),
    _one("a misspelt name", "blacklist usr\n", "al-user", LOADED),
    _one("a path", "blacklist kernel/user\n", "al-user", LOADED),
    _one("an install line without a command", "install user\n", "user", LOADED),
    _one("an option without a name", "options\n", "user", LOADED),
    # Files that modprobe does not read
    Scenario("a file that is not .conf", {"etc/modprobe.d/x": "install user /bin/false\n"}, "user", LOADED),
    Scenario("a name for old versions", {"etc/modprobe.d/x.alias": "install user false\n"}, "user", UNKNOWN),
    Scenario("a name that none reads", {"etc/modprobe.d/x.aliases": "install user false\n"}, "user", LOADED),
    Scenario("a hidden file", {"etc/modprobe.d/.x.conf": "install user /bin/false\n"}, "user", LOADED),
    Scenario("a directory below", {"etc/modprobe.d/d/x.conf": "install user false\n"}, "user", LOADED),
    Scenario(
        "/etc over /usr/lib",
        {"etc/modprobe.d/x.conf": "", "usr/lib/modprobe.d/x.conf": "install user /bin/false\n"},
        "user",
        LOADED,
    ),
    Scenario(
        "/run over /usr/local/lib",
        {"run/modprobe.d/x.conf": "", "usr/local/lib/modprobe.d/x.conf": "install user /bin/false\n"},
        "user",
        LOADED,
    ),
    Scenario(
        "/etc over /run, the other way",
        {"etc/modprobe.d/x.conf": "install user /bin/false\n", "run/modprobe.d/x.conf": ""},
        "user",
        BLOCKED,
    ),
    Scenario(
        "a link to /dev/null",
        {"etc/modprobe.d/x.conf": "-> /dev/null", "usr/lib/modprobe.d/x.conf": "install user /bin/false\n"},
        "user",
        LOADED,
    ),
    Scenario(
        "an absolute link",
        {"etc/modprobe.d/x.conf": "-> /etc/deny", "etc/deny": "install user /bin/false\n"},
        "user",
        BLOCKED,
    ),
    Scenario(
        "files by name, not by directory",
        {
            "usr/lib/modprobe.d/a.conf": f"install user {MODPROBE} -i user\n",
            "etc/modprobe.d/b.conf": "install user /bin/false\n",
        },
        "user",
        LOADED,
    ),
    # Names that nothing answers to
    _one("a name that no module has", "", "usr", NOT_FOUND, "not-found", "similar"),
    _one("a blacklisted name that no module has", "blacklist usr\n", "usr", NOT_FOUND),
    _one("an install line for a name that no module has", "install ghost /bin/false\n", "ghost", BLOCKED),
)  # fmt: skip
"""All scenarios."""
