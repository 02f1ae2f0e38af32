"""The command line of each of our commands.

They are apart from the commands, so that ``--help`` needs neither the machine's libraries nor the time to
import them. The manual pages and the shells' completion are made of them too (tools/manual.py).
"""

from __future__ import annotations

import argparse
import math
import os
import re

from ukmod.cli.options import (
    CommandParser,
    add_cmdline,
    add_color,
    add_config,
    add_formats,
    add_initramfs,
    add_json,
    add_kernel_facts,
    add_tree,
    command_parser,
)
from ukmod.cli.tree_command_lines import closure, fits, graph
from ukmod.kernel.limits import MAX_HZ, MAX_MEMORY, MAX_SECONDS, MEMORY, MIN_MEMORY, PATIENCE

__all__ = [
    "audit",
    "closure",
    "command_line",
    "demo",
    "examples",
    "explain",
    "fits",
    "graph",
    "kernel",
    "lint",
    "profile",
    "run",
    "shell",
    "survey",
    "tools",
]

_IMAGE = "the image the modules were built for, or a kernel such as 6.12, or 'none'; default: by vermagic"


def command_line(name: str) -> CommandParser:
    """Return the parser of the command of that name."""
    parsers = (
        run,
        shell,
        demo,
        examples,
        profile,
        explain,
        audit,
        policy,
        lint,
        closure,
        fits,
        graph,
        survey,
        kernel,
        tools,
    )
    return next(parser for parser in parsers if parser.__name__ == name)()


def run() -> CommandParser:
    """``ukmod run``."""
    parse = command_parser(
        "run",
        "Load modules, and what they need, into an emulated kernel, let them run, unload them, and report"
        " what happened. A file, or a name that the tree knows, begins the next module; any other word is a"
        " parameter of the module before it.",
        statuses={0: "all was clean", 1: "a module misbehaved or failed, or a request of it did"},
        examples={
            "hello.ko": "load it, wait for 5 virtual seconds, unload it",
            "hello.ko level=3 user.ko --for 60": "two modules, the first with a parameter, for a minute",
            "-d /srv/image loop max_loop=4": "a module of a tree, by name, on that tree's own kernel",
            "--kernel 6.1 --kernel 6.12 6.1/x.ko 6.12/x.ko": "a module on two kernels, built for each",
            "--kernel 6.1 --kernel 6.12 --build . x level=3": "the same from its source, with a parameter",
            "x.ko --exec ./test_x -v": "a module, and a program that tests it",
            "--kernel 6.1 --root initrd.img --init": "boot the init of a root file system",
        },
    )
    parse.refuse = _run_refused
    parse.add_argument("words", metavar="MODULE [param=value ...]", nargs="*",
                       help="a .ko file or a module of the tree, with its parameters")  # fmt: skip
    add_tree(parse, None, "modules are below ROOT/lib/modules")
    parse.add_argument(
        "--for", dest="seconds", metavar="SECONDS", type=_seconds,
        help="virtual; default 5, and 300 for an init that is at no terminal",
    )  # fmt: skip
    parse.add_argument(
        "--realtime", action="store_true", help="let virtual time pass no faster than real time"
    )
    parse.add_argument("--unload", action=argparse.BooleanOptionalAction, default=True, help="at the end")
    parse.add_argument("--seed", type=int, metavar="N", help="tasks take turns at random, reproducibly")
    parse.add_argument(
        "--hz", metavar="HZ", type=_hz, default=250, help="the kernel's CONFIG_HZ; default 250"
    )
    parse.add_argument("--btf", metavar="FILE", help="the kernel's BTF, for a stripped module")
    parse.add_argument("--kernel", action="append", metavar="IMAGE",
                       help=f"{_IMAGE} if need be; several times: a run on each")  # fmt: skip
    parse.add_argument("--root", metavar="PATH",
                       help="the machine's root file system: a directory, a cpio or a tar")  # fmt: skip
    parse.add_argument("--root-helpers", action="store_true",
                       help="the kernel starts the root's own programs, its modprobe among them")  # fmt: skip
    parse.add_argument("--init", action="store_true",
                       help="boot the root's own init, at this terminal, until it powers the machine off; the"
                       " modules are in its /lib/modules, and none is loaded")  # fmt: skip
    parse.add_argument("--build", metavar="DIRECTORY",
                       help="build modules from this source, for each --kernel by its headers")  # fmt: skip
    parse.add_argument("--exec", dest="program", nargs=argparse.REMAINDER, metavar="PROGRAM",
                       help="once the modules are loaded, run this program, linked statically or the"
                       " --root's own, with the words that follow; the run fails if it does not exit"
                       " with 0")  # fmt: skip
    parse.add_argument("--junit", metavar="FILE", help="write the results as JUnit's XML, too")
    parse.add_argument("--trace", metavar="FILE",
                       help="write the path of each request, in the format of FILE's suffix: .json for Chrome"
                       " or Perfetto, .mmd for Mermaid, .html; else text")  # fmt: skip
    parse.add_argument("--trace-format", choices=("text", "chrome", "mermaid", "html"),
                       help="the format of --trace, whatever the suffix")  # fmt: skip
    parse.add_argument("--strict-modprobe", action="store_true", help="requests carry no parameters")
    _add_machine(parse, PATIENCE, f"the most CPU time that the run may take; default {PATIENCE:g}")
    add_json(parse)
    add_color(parse)
    return parse


def _run_refused(options: argparse.Namespace) -> str:
    """Why a command line of ``ukmod run`` makes no sense; empty if it does."""
    if options.init:
        return _init_refused(options)
    if not options.words and options.build is None:
        return "name a module"
    if options.program == []:
        return "--exec: name a program"
    if options.trace is not None and len(options.kernel or ()) > 1:
        return "--trace: name one kernel"
    return "--trace-format: name a file with --trace" if options.trace_format and not options.trace else ""


def _init_refused(options: argparse.Namespace) -> str:
    """Why a command line with --init makes no sense; empty if it does."""
    if options.root is None:
        return "--init: give the --root that has it"
    for name in ("program", "junit", "build", "json", "trace"):
        if getattr(options, name):
            return f"--init: it goes without --{'exec' if name == 'program' else name}"
    return "--init: name one kernel" if len(options.kernel or ()) > 1 else ""


def shell() -> CommandParser:
    """``ukmod shell``."""
    parse = command_parser(
        "shell",
        "Start a shell in an emulated kernel. The modules, and what they need, are in its /lib/modules, where"
        " insmod and modprobe find them; none is loaded. On a terminal the shell is interactive, with job"
        " control, and time passes as on the host. Otherwise it reads a script from standard input, at whose"
        " end time becomes virtual.",
        statuses={0: "the shell's own exit status, whichever it is"},
        examples={
            "hello.ko": "a shell, on the kernel for which the module was built",
            "hello.ko -c 'insmod hello.ko; dmesg'": "one command",
            "--kernel 6.12 loop < test.sh": "a script, on a kernel that was fetched, with its module",
            "--kernel 6.1 --root initrd.img": "the shell of another root file system",
        },
    )
    parse.add_argument("words", metavar="MODULE", nargs="*", help="a .ko file or a module of the tree")
    add_tree(parse, None, "modules are below ROOT/lib/modules")
    parse.add_argument("-c", dest="command", metavar="COMMAND", help="run this command instead")
    parse.add_argument("--kernel", metavar="IMAGE",
                       help="an image, or a kernel such as 6.12; default: by the first module's vermagic,"
                       " else the newest kernel of this machine")  # fmt: skip
    parse.add_argument("--root", metavar="PATH",
                       help="the machine's root file system: a directory, a cpio or a tar; default: a busybox"
                       " that is linked statically")  # fmt: skip
    _add_machine(parse, MAX_SECONDS, "the most CPU time that the machine may take; default: any")
    return parse


def _add_machine(parse: CommandParser, patience: float, help_of_patience: str) -> None:
    """Add ``--snapshot``, ``--patience`` and ``--memory``."""
    parse.add_argument(
        "--snapshot", action=argparse.BooleanOptionalAction, default=True,
        help="keep an image that was brought up, for next time",
    )  # fmt: skip
    parse.add_argument("--patience", metavar="SECONDS", type=_time, default=patience, help=help_of_patience)
    parse.add_argument(
        "--memory", metavar="SIZE", type=_size, default=MEMORY,
        help="the machine's RAM, in bytes or with K, M or G; default 1G",
    )  # fmt: skip


def demo() -> CommandParser:
    """``ukmod demo``."""
    parse = command_parser(
        "demo",
        "Show request_module() from end to end: a module requests another, and modprobe loads it.",
        statuses={0: "all was clean", 1: "a module misbehaved or failed"},
        examples={"": "at once", "--realtime": "as slowly as a real kernel"},
    )
    parse.add_argument("--realtime", action="store_true", help="virtual time passes no faster than real time")
    add_json(parse)
    add_color(parse)
    return parse


def examples() -> CommandParser:
    """``ukmod examples``."""
    parse = command_parser(
        "examples",
        "Copy example modules into a directory: compiled for a kernel of Debian's, with line tables, and"
        " their C sources with a Makefile.",
        statuses={0: "they are there"},
        examples={"playground && ukmod run playground/ticker.ko": "copy them, and run one"},
    )
    parse.add_argument("directory", metavar="DIRECTORY", help="made if need be; no file in it is replaced")
    add_json(parse)
    return parse


def profile() -> CommandParser:
    """``ukmod profile``."""
    parse = command_parser(
        "profile",
        "Cut the types that ukmod needs out of a kernel's BTF, or out of a module's debug information.",
        statuses={0: "the profile is written"},
        examples={"/boot/vmlinuz-6.12.1 -o 6.12.1.json.gz": "the struct layouts of an installed kernel"},
    )
    parse.add_argument(
        "file", metavar="FILE", help="a vmlinuz, a vmlinux, raw BTF (/sys/kernel/btf/vmlinux) or a .ko"
    )
    parse.add_argument("-o", "--output", metavar="PROFILE", required=True,
                       help="where to write it; compressed if it ends in .gz")  # fmt: skip
    parse.add_argument(
        "--vermagic", metavar="TEXT", help="of the kernel's modules, where FILE does not say it"
    )
    add_json(parse)
    return parse


def explain() -> CommandParser:
    """``ukmod explain``."""
    parser = command_parser(
        "explain",
        "Say why modprobe would, or would not, load a module, and which line decides it.",
        notes="A word is a path if it begins with / or ./, else a module's name or an alias. Of a root, the"
        " boot loader's entries say how its kernel is started.",
        statuses={
            0: "all words would be loaded, or are in the kernel",
            1: "one of them would not",
            2: "of one of them nobody can tell: it depends on a program, or on how the system is booted",
            3: "no module or alias has this name, the command line makes no sense, or it could not be done",
        },
        misused=3,
        examples={
            "-b pcspkr": "is it blacklisted here, and by which line?",
            "-d /srv/image pci:v00008086d0000100Esv00sd00bc02sc00i00": "what a device's alias loads there",
            "--cmdline 'module_blacklist=dccp' dccp": "with another kernel command line",
            "./hello.ko --json": "a module file, for a program",
        },
    )
    parser.add_argument("word", nargs="+", metavar="NAME|ALIAS|FILE", help="what modprobe would be given")
    add_tree(parser, "/", "the system's root, its configuration included", or_running=True)
    add_config(parser)
    parser.add_argument(
        "-b", "--use-blacklist", action="store_true", help="as modprobe -b: names are blacklisted too"
    )
    add_cmdline(parser)
    add_kernel_facts(parser)
    add_json(parser)
    return parser


def audit() -> CommandParser:
    """``ukmod audit``."""
    parser = command_parser(
        "audit",
        "Say for modules, by default for all of a tree, whether they can get into the kernel, by each route:"
        " by name, by each alias, with a module that needs them, by another's install command, built in, and"
        " by the same ones inside of the initramfs, which has a configuration of its own."
        " Lines that deny a module which is loaded all the same are errors.",
        notes="audit block NAME...: prove that modules are blocked by every route. If one is not, the lines"
        " that block it are printed; they have been applied in memory, and the proof was run again.\n"
        "audit surface [FAMILY...]: list the families of names that the kernel itself asks for, by the calls"
        " of request_module() in the image and in the modules, with the system call that makes it ask.\n"
        "audit diff A B: list the modules, and the routes, whose verdict is another one in B; both are roots,"
        " or both are releases below the root of -d.\n"
        "Behind -- each word is a module's name: audit -- block.",
        statuses={
            0: "no denial fails; with block: all are blocked; with diff: nothing differs",
            1: "a module is loaded that is denied, or that was to be blocked; something differs",
            2: "of such a module nobody can tell: it depends on a program, or on how the system is booted",
            3: "no module has this name, the command line makes no sense, or it could not be done",
        },
        misused=3,
        examples={
            "": "do the deny lists of this system keep out what they deny?",
            "-d /srv/image dccp": "each route to a module",
            "block -d /srv/image dccp sctp": "is it proven that these are blocked? what would do it?",
            "diff /srv/old /srv/new": "what can be loaded in the one and not in the other?",
            "surface -d /srv/image": "what can a user make the kernel load?",
            "surface --prove -d /srv/image": "and is it so? Try it in the emulated kernel",
            "-d /srv/image --html >audit.html": "a page to search in, which asks the network for nothing",
            "-d /srv/image --sarif": "for a code scanning service; --junit is for a test report",
        },
    )
    parser.intermixed = True
    parser.add_argument(
        "words",
        nargs="*",
        metavar="[block|surface|diff] NAME",
        help="modules; default: all, built-in ones included",
    )
    add_tree(parser, "/", "the system's root, its configuration included", or_running=True)
    add_config(parser)
    add_cmdline(parser)
    add_initramfs(parser)
    add_kernel_facts(parser)
    parser.add_argument("--notes", action="store_true", help="show notes about a whole tree, too")
    parser.add_argument(
        "--kernel",
        metavar="IMAGE",
        help="surface: the image, or 'none'; default: the one below ROOT that fits",
    )
    parser.add_argument(
        "--prove",
        action="store_true",
        help="surface: make the system calls in the emulated kernel, and note what it asks for",
    )
    add_formats(parser, html=True)
    return parser


def policy() -> CommandParser:
    """``ukmod policy``."""
    parser = command_parser(
        "policy",
        "Print a deny list of all modules except those that are to be kept and all that they need, after a"
        " proof that it does this. Or check whether a system has such a list. Built-in modules do not count.",
        statuses={
            0: "proven: what is kept can be loaded, and nothing else",
            1: "a module is loaded that is not kept, or one that is kept is not",
            2: "of a module nobody can tell: it depends on a program, or on how the system is booted",
            3: "no module has this name, the command line makes no sense, or it could not be done",
        },
        misused=3,
        examples={
            "generate --keep modules.keep -d /srv/image >00-block.conf": "a file for modprobe.d",
            "check --keep modules.keep -d /srv/image": "is it in force?",
        },
    )
    parser.intermixed = True
    parser.add_argument("action", choices=("generate", "check"), help="print a deny list; check a system")
    parser.add_argument(
        "--keep", metavar="FILE", required=True, help="names or aliases, one a line; # begins a comment"
    )
    add_tree(parser, "/", "the system's root, its configuration included", or_running=True)
    add_config(parser)
    add_cmdline(parser)
    add_initramfs(parser)
    add_kernel_facts(parser)
    add_formats(parser)
    return parser


def lint() -> CommandParser:
    """``ukmod lint``."""
    parser = command_parser(
        "lint",
        "Find the lines of modprobe.d, and of the kernel's command line, that do not do what they say: those"
        " that are not read, match nothing, or come too late; each with its fix.",
        notes="A note is about a line that is of no use on this system, and may be right on another.",
        statuses={0: "nothing is wrong", 1: "there are errors or warnings"},
        examples={
            "": "this system",
            "-d /srv/image --notes": "an image; say also which lines are of no use in it",
            "-d /srv/image --json": "for a program",
        },
    )
    add_tree(parser, "/", "the system's root, its configuration included", or_running=True)
    add_config(parser)
    add_cmdline(parser)
    parser.add_argument("--notes", action="store_true", help="show notes too")
    add_json(parser)
    return parser


def survey() -> CommandParser:
    """``ukmod survey``."""
    from ukmod.survey.verdict import PATIENCE

    parse = command_parser(
        "survey",
        "Load each module of a tree, with its dependencies, into a fresh copy of its kernel, let it run,"
        " unload it, and sum up what happened.",
        notes="survey diff A B: list what became worse, better, new or gone between two surveys; both are"
        " journals, or documents of --json. The word diff alone, or behind -- or another name, is a module.\n"
        "A line of --expect's FILE has a module, its verdict, and why: test_bpf timeout it takes minutes.",
        statuses={
            0: "every module is clean, or refuses as it does without its hardware, or fails as expected;"
            " with diff: none became worse",
            1: "anything else came of a module; with diff: one became worse, or a new one fails",
            130: "interrupted; with --journal, a later survey continues from there",
        },
        examples={
            "-d /srv/image --sample 60": "sixty modules of an image, always the same ones",
            "-d /srv/image --journal all.journal": "all modules; what is done already is not done again",
            "-d /srv/image loop nbd --json": "two modules, for a program",
            "diff old.journal new.journal": "what has changed?",
        },
    )
    parse.intermixed = True
    parse.add_argument("names", metavar="[diff] NAME", nargs="*", help="only these modules")
    add_tree(parse, "/", "modules are below ROOT/lib/modules")
    parse.add_argument("--kernel", metavar="IMAGE", help=_IMAGE)
    parse.add_argument("--btf", metavar="FILE", help="the kernel's BTF, for an image without")
    parse.add_argument("--for", dest="seconds", metavar="SECONDS", type=_time, default=1.0,
                       help="virtual, between loading and unloading; default 1")  # fmt: skip
    parse.add_argument("--sample", type=_count, metavar="N", help="only N modules, always the same ones")
    parse.add_argument("--jobs", type=_count, metavar="N", default=os.cpu_count() or 1,
                       help="processes; default one a CPU")  # fmt: skip
    parse.add_argument("--dask", metavar="ADDRESS", help="use the cluster of this Dask scheduler, not --jobs")
    parse.add_argument("--patience", type=_time, default=PATIENCE, metavar="SECONDS",
                       help=f"the most CPU time for one module; default {PATIENCE:g}")  # fmt: skip
    parse.add_argument(
        "--journal", metavar="FILE", help="append results here, and continue from those that it holds"
    )
    parse.add_argument("--expect", metavar="FILE", help="modules that are expected to fail, and why")
    parse.add_argument("--html", metavar="FILE", help="write the verdicts as an HTML page, too")
    parse.add_argument("--junit", metavar="FILE", help="write the verdicts as JUnit's XML, too")
    add_json(parse)
    return parse


def kernel() -> CommandParser:
    """``ukmod kernel``."""
    parse = command_parser(
        "kernel",
        "Check a kernel image, or fetch kernels, or list those on this machine.",
        notes="check: check what ukmod takes for granted about an image: the parameters of each function that"
        " it replaces, the code at its entry, the calls that would bypass it, the sizes of variables. Then"
        " bring the image up.\n\n"
        "fetch: fetch kernels of Debian or Ubuntu by apt, without root: image and modules, into the user's"
        " cache. A kernel is named by its release, or by the beginning of its version, perhaps with a"
        " flavour: 6.12, 6.12-rt, newest-cloud. Of those that fit, it is the newest one of the usual flavour."
        " It is looked for in the system's own sources, then, of Debian, in those of other releases.\n\n"
        'headers: print where a kernel\'s headers are: make -C "$(ukmod kernel headers 6.12)" M=$PWD.\n\n'
        "list: list the kernels that --kernel NAME finds, the newest first.",
        statuses={
            0: "every assumption holds, and every step returns; the kernels are here",
            1: "an assumption does not hold, or a step fails",
        },
        examples={
            "check /boot/vmlinuz-6.12.1": "what does not hold, and which steps fail",
            "check --all 6.12": "every assumption, about a kernel that was fetched",
            "fetch 5.10 6.1 6.12 --headers": "three kernels, and what modules for them are built with",
            "fetch newest --suite sid": "the newest kernel of a suite",
            "list --json": "for a program",
        },
    )
    parse.intermixed = True
    parse.add_argument("action", choices=("check", "fetch", "headers", "list"), help="what to do")
    parse.add_argument("kernels", metavar="IMAGE|KERNEL", nargs="*",
                       help="a vmlinuz or a vmlinux to check, or a kernel to check or to fetch")  # fmt: skip
    parse.add_argument("--btf", metavar="FILE", help="check: the kernel's BTF, for an image without")
    parse.add_argument("--all", action="store_true", help="check: list all assumptions")
    parse.add_argument("--headers", action="store_true", help="fetch: what modules are built with, too")
    parse.add_argument("--suite", action="append", metavar="SUITE", default=[],
                       help="fetch: only from this suite, or these, separated by commas")  # fmt: skip
    parse.add_argument("--into", metavar="DIRECTORY", help="fetch: into a new directory, not into the cache")
    add_json(parse)
    return parse


def tools() -> CommandParser:
    """``ukmod tools``."""
    parse = command_parser(
        "tools",
        "List kmod's tools, or make links to this program under their names: it then is each of them.",
        statuses={0: "done"},
        examples={"": "which there are", "link ~/bin": "modprobe, depmod and the others in ~/bin"},
    )
    parse.add_argument("link", nargs="?", choices=("link",), help="make links")
    parse.add_argument("directory", metavar="DIRECTORY", nargs="?", help="where; made if need be")
    add_json(parse)
    return parse


def _seconds(text: str) -> float:
    """A time that can be waited for."""
    value = float(text)
    if not 0 <= value <= MAX_SECONDS:
        raise argparse.ArgumentTypeError(f"{text} is not from 0 to {MAX_SECONDS}")
    return value


def _hz(text: str) -> int:
    value = int(text)
    if not 1 <= value <= MAX_HZ:
        raise argparse.ArgumentTypeError(f"{text} is not from 1 to {MAX_HZ}")
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return value


def _size(text: str) -> int:
    """A size of RAM in bytes, as the kernel's memparse() takes it: 512M."""
    found = re.fullmatch("([0-9]+)([KMG]?)", text.upper())
    value = int(found[1]) << 10 * " KMG".index(found[2] or " ") if found is not None else 0
    if not MIN_MEMORY <= value <= MAX_MEMORY:
        limits = f"{MIN_MEMORY >> 20}M to {MAX_MEMORY >> 30}G"
        raise argparse.ArgumentTypeError(f"{text} is not a size from {limits}")
    return value


def _time(text: str) -> float:
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not a time")
    return value
