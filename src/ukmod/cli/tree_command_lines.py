"""The command lines of commands about the files of a tree: see :mod:`ukmod.cli.command_lines`."""

from __future__ import annotations

import argparse

from ukmod.cli.options import CommandParser, add_config, add_json, add_tree, command_parser

__all__ = ["closure", "fits", "graph"]


def closure() -> CommandParser:
    """``ukmod closure``."""
    parser = command_parser(
        "closure",
        "List the files that modules need: dependencies, hard and soft, and firmware, of built-in modules"
        " too. As an archive, a manifest or a copy they come with depmod's indexes.",
        notes="A NAME may also be a pattern: a glob ('snd-*', 'drivers/hid/*'), a directory of the tree"
        " ('=drivers/hid', as dracut has it), or a regular expression that is searched for in the path"
        " ('re:hyperv', as mkosi does it). A filesystem is 'fs-NAME'. lspci and lsusb show less than sysfs:"
        " of a device in their output, all modules are taken that may be meant for it.",
        statuses={0: "all files are there", 1: "a module is missing, or the one of --why is not needed"},
        examples={
            "-d /srv/image ext4 nvme": "what an initramfs with these two needs",
            "-d /srv/image --on-missing warn iwlwifi": "take what is there",
            "-d /srv/image --host --format cpio -o modules.cpio": "an archive of all this machine has loaded",
            "=drivers/net --exclude 're:wireless' --copy /srv/initrd": "drivers for wires, in a root",
            "ext4 --why crc16": "the chain of dependencies",
        },
    )  # fmt: skip
    parser.add_argument("name", nargs="*", metavar="NAME|ALIAS|FILE|PATTERN", help="what to begin with")
    add_tree(parser, "/", "the root of the system to take them from", or_running=True)
    add_config(parser)
    parser.add_argument(
        "--host", action="store_true", help="begin with the modules that this machine has loaded"
    )
    parser.add_argument("--loaded", action="append", default=[], metavar="FILE|DIR",
                        help="the same, of a machine's /proc/modules, lsmod or /sys/module")  # fmt: skip
    parser.add_argument("--modalias", action="append", default=[], metavar="FILE|DIR",
                        help="begin with the modules of devices: the output of lspci -n, lspci -mmn or lsusb,"
                        " modaliases one a line, or a directory as /sys/devices is one")  # fmt: skip
    parser.add_argument("--exclude", action="append", default=[], metavar="NAME|PATTERN",
                        help="leave out these, unless they are named, and what depends on them")  # fmt: skip
    parser.add_argument("--weakdeps", action="store_true", help="follow weak dependencies too")
    parser.add_argument("--no-firmware", action="store_true", help="leave out firmware")
    parser.add_argument(
        "--on-missing",
        choices=("error", "warn"),
        default="error",
        help="what a missing module is; soft dependencies and firmware are only warned of",
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="no warnings")
    parser.add_argument("--why", metavar="NAME", help="say why a module or firmware file is needed")
    parser.add_argument(
        "--format",
        choices=("list", "manifest", "cpio"),
        default="list",
        help="paths; an mtree(5) with sizes and SHA-256; or an archive, the same bytes each time",
    )
    parser.add_argument("-o", "--output", metavar="FILE", help="where to write it; default: standard output")
    parser.add_argument("--copy", metavar="ROOT", help="copy the files below ROOT, and index its modules")
    parser.add_argument("--indexes", action=argparse.BooleanOptionalAction, default=True,
                        help="with modules.dep and the others in archive, manifest or copy")  # fmt: skip
    add_json(parser)
    return parser


def fits() -> CommandParser:
    """``ukmod fits``."""
    parser = command_parser(
        "fits",
        "Say whether module files fit a kernel: for each symbol that one needs, who exports it, and whether"
        " the version, the licence and the namespace allow its use; and whether the vermagic is right.",
        notes="Files on the same command line may use each other's symbols. Without --kernel or --symvers,"
        " the exports of ROOT's kernel are those of the tree's build/Module.symvers or of ROOT's image.",
        statuses={0: "all files fit", 1: "one of them does not", 2: "of one of them nobody can tell",
                  3: "the command line makes no sense, or it could not be done"},
        misused=3,
        examples={
            "-d /srv/image -S 6.1.0 ./own.ko": "does it fit the kernel and the modules of a root?",
            "--kernel /boot/vmlinuz-6.1.0 --all ./own.ko": "or an image? List all symbols",
            "--symvers Module.symvers ./*.ko": "or a build tree's symbols?",
        },
    )  # fmt: skip
    parser.add_argument("file", nargs="+", metavar="FILE", help="a module's file, plain or compressed")
    add_tree(parser, None, "the root with the kernel's modules", or_running=True)
    parser.add_argument("--kernel", metavar="IMAGE", help="a vmlinuz or vmlinux, or a kernel of this machine")
    parser.add_argument("--symvers", metavar="FILE", help="the kernel's Module.symvers")
    parser.add_argument("--vermagic", metavar="TEXT", help="the kernel's vermagic")
    parser.add_argument("--all", action="store_true", help="list symbols without objections, too")
    add_json(parser)
    return parser


def graph() -> CommandParser:
    """``ukmod graph``."""
    parser = command_parser(
        "graph",
        "Draw what modules need: hard dependencies, soft ones, and weak ones if asked for.",
        statuses={0: "done", 1: "a module is missing"},
        examples={
            "ext4 | dot -Tsvg >ext4.svg": "by Graphviz",
            "--format html -o nvme.html nvme": "a page that asks the network for nothing",
            "--format mermaid '=fs/nfs'": "for Markdown",
        },
    )
    parser.add_argument("name", nargs="+", metavar="NAME|ALIAS|FILE|PATTERN", help="as for ukmod closure")
    add_tree(parser, "/", "the root of the system, or an archive", or_running=True)
    add_config(parser)
    parser.add_argument("--weakdeps", action="store_true", help="draw weak dependencies too")
    parser.add_argument(
        "--format",
        choices=("dot", "mermaid", "html"),
        help="default: that of FILE's suffix, .mmd or .html; else dot",
    )
    parser.add_argument("-o", "--output", metavar="FILE", help="where to write it; default: standard output")
    add_json(parser)
    parser.refuse = lambda options: (
        "--json goes to standard output" if options.json and options.output else ""
    )
    return parser
