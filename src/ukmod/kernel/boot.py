"""Booting a kernel from a user's configuration: choosing its image and its layouts."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from itertools import chain
from math import isfinite
from typing import TYPE_CHECKING, Any

from ukmod.errors import LayoutError, NotFoundError, UsageError
from ukmod.kernel.core import Core
from ukmod.kernel.image import choice
from ukmod.kernel.image.choice import AUTO, NONE, Need
from ukmod.kernel.limits import MAX_HZ, MAX_MEMORY, MAX_SECONDS, MIN_MEMORY
from ukmod.kernel.mocks import Mock, add, check
from ukmod.kernel.trees import modules_of
from ukmod.kmod.elf import Elf
from ukmod.kmod.tree import Tree
from ukmod.machine.memory import PAGE_SIZE
from ukmod.machine.types import Types, types_for
from ukmod.record import field, record

if TYPE_CHECKING:
    from ukmod.machine.image.image import KernelImage


@record
class Configuration:
    """The configuration of a kernel.

    image: the given image, None for no image, or AUTO for the one that the modules need.
    options: the parameters of Core that affect bringing up an image, by name.
    keep: use snapshots of an initialised image, and save one.
    root: the machine has a root file system, which needs an image.
    """

    image: KernelImage | str | None
    btf: str | None = None
    types: Types | None = None
    options: dict[str, Any] = field(default_factory=dict)
    keep: bool = True
    root: bool = False


@record
class Booted:
    """A booted kernel, and the reason why it needs an image, if it does and none was given."""

    core: Core
    need: Need | None = None


def image_named(image: str | os.PathLike[str] | None, tree: Tree | None = None) -> KernelImage | str | None:
    """The image of a Configuration: that of a file, or of a kernel on this machine, "6.12" for example.

    The file may lie in the archive that the tree is in.
    Raises the errors of KernelImage for a file that is not an image, NotFoundError for a kernel that is not
    here.
    """
    name = None if image is None else os.fspath(image)
    if name is None or name == NONE:
        return None
    if name == AUTO:
        return AUTO
    from ukmod.machine.image.find import image_in
    from ukmod.machine.image.installed import image_at  # few runs name one

    return image_in(tree, image_at(name))


def modules_of_image(image: str | os.PathLike[str] | None) -> str:
    """The module tree of an image that is named by its kernel's release; empty if it is not, or has none."""
    name = NONE if image is None else os.fspath(image)
    if name in (AUTO, NONE):
        return ""
    from ukmod.machine.image.installed import kernel_named
    from ukmod.machine.image.releases import is_word

    return kernel_named(name).modules if is_word(name) and not os.path.exists(name) else ""


def checked_hz(hz: int) -> int:
    """Return ``hz``. Raises UsageError for an invalid tick rate."""
    if not 1 <= hz <= MAX_HZ:
        raise UsageError(f"CONFIG_HZ is a whole number from 1 to {MAX_HZ}", subject=f"hz={hz!r}")
    return hz


def checked_memory(memory: int) -> int:
    """Return ``memory`` in whole pages. Raises UsageError if it is too small for a kernel, or too large."""
    if not MIN_MEMORY <= memory <= MAX_MEMORY:
        text = f"a machine has from {MIN_MEMORY} to {MAX_MEMORY} bytes of RAM"
        raise UsageError(text, subject=f"memory={memory!r}")
    return memory - memory % PAGE_SIZE


def checked_patience(seconds: float) -> float:
    """Return ``seconds``. Raises UsageError if no machine can run for so long."""
    if not isfinite(seconds) or seconds <= 0:
        raise UsageError("patience is a positive number of seconds", subject=f"patience={seconds!r}")
    return seconds


def checked_root(root: str | os.PathLike[str] | None, image: str | os.PathLike[str] | None) -> str | None:
    """Return the path of a root file system. Raises NotFoundError, and UsageError without an image."""
    if root is None:
        return None
    if image is None or os.fspath(image) == NONE:
        raise UsageError(
            "a root file system needs the kernel's own code: give an image", subject=os.fspath(root)
        )
    if not os.path.exists(root):
        raise NotFoundError("there is no such root: name a directory or an archive", subject=os.fspath(root))
    return os.fspath(root)


def checked_helpers(root: str | None, *, of_root: bool) -> bool:
    """Return whether helpers are the root's programs. Raises UsageError if there is no root."""
    if of_root and root is None:
        raise UsageError("helpers of a root file system need one: give a root")
    return of_root


def checked_seconds(seconds: float) -> float:
    """Return ``seconds``. Raises UsageError if it is negative, too large or not a number."""
    if not isfinite(seconds) or not 0 <= seconds <= MAX_SECONDS:
        raise UsageError(f"virtual time passes by 0 to {MAX_SECONDS} seconds", subject=f"{seconds!r}")
    return seconds


def boot(
    wanted: Configuration, modules: Sequence[Elf], tree: Callable[[], Tree | None], mocks: Sequence[Mock],
    *, programs: bool = False,
) -> Booted:  # fmt: skip
    """Boot the kernel for these modules, which are given in the order of loading.

    programs: it is to run some, which needs an image.

    Without modules it is the kernel of the tree, with its image if one is found. Raises LayoutError if the
    struct layouts are not known, NotFoundError for a mock of a function that neither kernel nor modules have.
    """
    found = _chosen(wanted, modules, tree, mocks, programs=programs)
    try:
        check(found.core, mocks, lambda: chain(modules, modules_of(tree())))
    except NotFoundError:
        found.core.close()
        raise
    add(found.core, mocks)
    return found


def _chosen(
    wanted: Configuration, modules: Sequence[Elf], tree: Callable[[], Tree | None], mocks: Sequence[Mock],
    *, programs: bool,
) -> Booted:  # fmt: skip
    def booted(image: KernelImage | None) -> Core:
        return _booted(wanted, modules, image)

    if wanted.image is not None and not isinstance(wanted.image, str):
        return Booted(booted(wanted.image))
    if not modules and (its := tree()) is not None and (one := next(modules_of(its), None)) is not None:
        # Any of the tree's modules may be loaded.
        image = choice.image_for(one, its) if wanted.image == AUTO else None
        return Booted(_booted(wanted, [one], image))
    if wanted.image is None:
        return Booted(booted(None))
    try:
        core = booted(None)
    except LayoutError as error:
        if not modules:
            raise
        need = choice.need_of_layouts(modules, tree())
        if need.image is None:
            raise LayoutError(f"{error.message}; {need.search}", subject=error.subject) from error
    else:
        lack = choice.need_of_symbols(core.symbols, modules, tree, {mock.name for mock in mocks})
        if lack is None and (programs or (wanted.root and modules)):
            lack = choice.need_of_programs(modules, tree())
        if lack is None or lack.image is None:
            return Booted(core, lack)
        core.close()
        need = lack
    return Booted(booted(need.search.image), need)


def _booted(wanted: Configuration, modules: Sequence[Elf], image: KernelImage | None) -> Core:
    def types() -> Types:
        # A module's types are added when it is loaded; an image is brought up without them.
        return wanted.types or types_for(modules if image is None else (), btf=wanted.btf, kernel=image)

    if image is None:
        return Core(types(), **wanted.options)
    from ukmod.kernel.image import snapshot

    # Snapshots are only for the image's own layouts.
    keep = wanted.keep and wanted.types is None and wanted.btf is None
    return snapshot.boot(image, types, wanted.options, keep=keep)
