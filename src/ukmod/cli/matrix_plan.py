"""Which build of each module runs on which kernel: planned before anything runs.

A compiled module fits one kernel, so a module comes in several builds, told apart by the release in their
vermagic. A name without a file means the kernel's own module of that name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from ukmod.errors import FormatError, UsageError
from ukmod.kernel.image.choice import vermagic_of
from ukmod.kernel.trees import read_module_file
from ukmod.kmod.names import modname_from_path
from ukmod.record import record

__all__ = ["Build", "Runs", "Subject", "plan", "subjects"]


@record
class Build:
    """A module's file, and the release of the kernel that it was built for; empty if it does not say."""

    file: str
    release: str = ""


@record
class Subject:
    """A module to try: its builds, none for a kernel's own module, and the parameters of all of them."""

    name: str
    builds: tuple[Build, ...]
    params: str = ""


@record
class Runs:
    """One run, on one kernel: the files to load, with their parameters, and why other modules have none."""

    kernel: str
    files: Mapping[str, tuple[str, str]]
    """By module: the file and its parameters, in the order of loading."""
    missing: Mapping[str, str]
    """By module: why there is nothing to load."""


def subjects(groups: Iterable[tuple[str, str]], is_file: Callable[[str], bool]) -> list[Subject]:
    """The modules that a command line names. ``groups``: a file or a name, and parameters.

    Builds of one module share their parameters, wherever they stand. Raises UsageError if they contradict
    each other, NotFoundError for a file that cannot be read.
    """
    found: dict[str, Subject] = {}
    for word, params in groups:
        named = is_file(word)
        name = modname_from_path(word) if named else word.replace("-", "_")
        before = found.get(name, Subject(name, ()))
        if params and before.params not in ("", params):
            raise UsageError(f"its builds have different parameters: {before.params}, {params}", subject=name)
        builds = (*before.builds, Build(word, _release_of(word))) if named else before.builds
        found[name] = Subject(name, builds, params or before.params)
    return list(found.values())


def _release_of(file: str) -> str:
    try:
        return vermagic_of(read_module_file(file).elf()).partition(" ")[0]
    except FormatError:
        return ""  # no module: the loader says so


def plan(
    wanted: Sequence[Subject], kernels: Iterable[str], own: Callable[[str, str], str | None]
) -> list[Runs]:
    """A run for each kernel, given by its release; an empty one takes any build.

    own: returns the file of a kernel's own module, or None. Raises UsageError if several builds fit.
    """
    return [_run(wanted, kernel, own) for kernel in kernels]


def _run(wanted: Sequence[Subject], kernel: str, own: Callable[[str, str], str | None]) -> Runs:
    files: dict[str, tuple[str, str]] = {}
    missing: dict[str, str] = {}
    for one in wanted:
        if one.builds:
            fitting = [build.file for build in one.builds if not kernel or build.release in ("", kernel)]
        else:
            fitting = [file for file in (own(kernel, one.name),) if file is not None]
        if len(fitting) > 1:
            text = f"there are several builds of {one.name} for {kernel or 'this kernel'}"
            raise UsageError(text, subject=", ".join(fitting))
        if fitting:
            files[one.name] = (fitting[0], one.params)
        else:
            missing[one.name] = _why(one, kernel)
    return Runs(kernel, files, missing)


def _why(one: Subject, kernel: str) -> str:
    if not one.builds:
        return f"{kernel or 'this kernel'} has no module {one.name} of its own"
    others = "; ".join(f"{build.file} is for {build.release}" for build in one.builds)
    return f"no build of {one.name} for {kernel}: {others}"
