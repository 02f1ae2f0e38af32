"""depmod of modules in an archive: its files are printed, or written below another root."""

from __future__ import annotations

import os

from ukmod.errors import UkmodError
from ukmod.kmod.depmod.publish import make_directory, publish
from ukmod.kmod.indexing import index_files
from ukmod.kmod.tree import Tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ukmod.kmod.host import Host
    from ukmod.kmod.tools.depmod_options import DepmodOptions
    from ukmod.kmod.tools.log import ToolLog

__all__ = ["index_archive"]

_OF_DIRECTORIES = frozenset("eAaw")
"""Options that have no meaning here: they compare with files on the disk, or check what was found there."""


def index_archive(options: DepmodOptions, host: Host, log: ToolLog) -> int:
    """Index the modules in the archive that is the root. Returns the exit status.

    Without a release it is the only one that the archive has modules of.
    """
    if options.flags & _OF_DIRECTORIES or ("n" not in options and options.out_root is None):
        log.err(f"{options.root} is an archive: -n prints its indexes, -o ROOT writes them there")
        return 1
    release = options.words[0] if options.words else None
    try:
        tree = Tree.open(options.root, release, options.module_directory)
        made = index_files(tree)
    except UkmodError as error:
        log.err(str(error))
        return 1
    except OSError as error:
        log.err(f"{error.filename or options.root}: {error.strerror}")
        return 1
    files = [(os.path.basename(path), content) for path, content in made.items()]
    if "n" in options:
        for name, content in files:
            if not name.endswith(".bin"):
                host.stdout.write(content.decode("utf-8", "surrogateescape"))
        return 0
    directory = f"{options.out_root}/{options.module_directory}/{tree.release}"
    try:
        make_directory(directory)
        publish(directory, files)
    except OSError as error:
        log.err(f"could not write to {error.filename or directory}: {error.strerror}")
        return 1
    return 0
