"""Fetching a kernel into the user's cache: its image, its modules, its headers.

What is fetched is planned first, as a value. It is unpacked beside its place, and moved there when it is
complete: a fetch that is killed leaves a directory with a leading dot, which the next one removes.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from ukmod.errors import NotFoundError, UkmodError, UsageError
from ukmod.kmod.depmod.library import depmod
from ukmod.machine.image.installed import Installed, headers_store, installed, modules_below, store
from ukmod.machine.image.releases import chosen, is_word
from ukmod.packages.apt import Apt, check_suites, require_programs
from ukmod.packages.names import headers_of, packages_of, releases
from ukmod.packages.relocation import relocate
from ukmod.record import record

__all__ = ["ELSEWHERE", "Fetch", "Unpacking", "fetch", "plan_of"]

_SUITES: dict[str, tuple[tuple[str, ...], ...]] = {
    "Debian": (
        ("stable", "stable-updates", "stable-security"),
        ("testing",),
        ("unstable",),
        ("oldstable", "oldstable-updates", "oldstable-security"),
        ("oldoldstable", "oldoldstable-security"),
        ("stable-backports",),
        ("oldstable-backports",),
    ),
}
"""Where a kernel is looked for that the system's own sources lack: by names that mirrors keep up to date."""
ELSEWHERE = """\
on another system, download the packages with the kernel's image, its modules and its headers (Fedora:
kernel-core, kernel-modules, kernel-devel; Arch: linux, linux-headers) and unpack them into
{directory}/RELEASE""".replace("\n", " ")
_OWN = "the system's own sources"
_WORKING = ".fetch-"
Tell = Callable[[str, Callable[[], str]], object]
"""Told what is being done, and a function that says how far it is."""


@record
class Unpacking:
    """Packages that are unpacked together into one directory, which then appears at once."""

    directory: str
    packages: tuple[str, ...]


@record
class Fetch:
    """What a fetch will do; nothing if all is there."""

    release: str
    unpackings: tuple[Unpacking, ...]


def plan_of(
    release: str,
    names: Sequence[str],
    depends: Callable[[str], Sequence[str]],
    *,
    headers: bool,
    into: str | None = None,
) -> Fetch:
    """What to fetch for a kernel, by the packages that there are.

    into: one directory for all; by default a kernel and its headers have directories of the user's cache.
    depends: returns the packages that a package depends on. Raises NotFoundError if there are no headers.
    """
    known = set(names)
    image = tuple(packages_of(release, known))
    built_with = tuple(headers_of(release, known, depends)) if headers else ()
    if into is not None:
        wanted = [Unpacking(into, (*image, *built_with))]
    else:
        wanted = [Unpacking(os.path.join(store(), release), image)]
        wanted += [Unpacking(os.path.join(headers_store(), release), built_with)] if headers else []
    return Fetch(release, tuple(one for one in wanted if not os.path.exists(one.directory)))


def fetch(
    word: str, *, suites: Sequence[str] = (), headers: bool = False, into: str | None = None, tell: Tell
) -> tuple[Installed, Fetch]:
    """Fetch the kernel that a word means, unless it is here; the kernel, and what was done.

    suites: where to look, instead of the system's own sources and, of Debian, then those of other releases.
    Raises UsageError for a word that is no release or no suite, NotFoundError if there is no apt or no such
    kernel, UkmodError with what apt says if a package cannot be fetched.
    """
    if not is_word(word):
        raise UsageError("is not a kernel's version, such as 6.12 or 6.12-rt", subject=word)
    check_suites(suites)
    if into is not None and os.path.exists(into):
        raise UsageError("it exists: a kernel is unpacked into a new directory", subject=into)
    if into is None and (found := _here(word, headers=headers)) is not None:
        return found, Fetch(word, ())
    require_programs()
    above = os.path.dirname(os.path.abspath(into)) if into is not None else store()
    with _workplace(above) as work:
        apt, release = _search(word, suites, work, tell)
        plan = plan_of(release, apt.names(), apt.depends, headers=headers, into=into)
        for number, unpacking in enumerate(plan.unpackings):
            new = os.path.join(work, str(number))
            _unpack(apt, unpacking, new, tell)
            _settle(new, release, tell)
            os.makedirs(os.path.dirname(unpacking.directory), exist_ok=True)
            os.rename(new, unpacking.directory)
    kernels = installed([into if into is not None else os.path.join(store(), release)])
    if not kernels:
        raise UkmodError("its packages hold no image", subject=release)
    return kernels[0], plan


def _here(release: str, *, headers: bool) -> Installed | None:
    """The kernel of exactly this release, if it was fetched: no mirror has a newer one of the name."""
    found = installed([os.path.join(store(), release)])
    return next((one for one in found if one.release == release and (one.headers or not headers)), None)


def _search(word: str, suites: Sequence[str], work: str, tell: Tell) -> tuple[Apt, str]:
    """The apt that knows a kernel which a word means, and its release."""
    system = Apt(os.path.join(work, "system"))
    complaints = _update(system, _OWN, tell)
    mirrors = system.mirrors()
    searched = [] if suites else [_OWN]
    if not suites and (release := chosen(word, releases(system.names()))) is not None:
        return system, release
    for group in [suites] if suites else _SUITES.get(mirrors.distribution, ()):
        apt = Apt(os.path.join(work, group[0]), group, mirrors)
        searched.append(", ".join(group))
        complaints += _update(apt, searched[-1], tell)
        if (release := chosen(word, releases(apt.names()))) is not None:
            return apt, release
    text = f"there is no such kernel in {'; '.join(searched)}: name other suites with --suite"
    raise NotFoundError(text, subject=word, details=complaints)


def _update(apt: Apt, sources: str, tell: Tell) -> list[str]:
    tell(f"reading the lists of {sources}", str)
    return apt.update()


def _unpack(apt: Apt, unpacking: Unpacking, directory: str, tell: Tell) -> None:
    os.makedirs(directory)
    for package in unpacking.packages:
        download = f"{directory}.{package}"
        size = apt.size(package)

        def so_far(download: str = download, size: int = size) -> str:
            return f"{_size_below(download) / 1e6:.0f} of {size / 1e6:.0f} MB"

        tell(f"fetching {package}", so_far)
        file = apt.download(package, download)
        tell(f"unpacking {package}", str)
        apt.unpack(file, directory)
        shutil.rmtree(download)


def _settle(directory: str, release: str, tell: Tell) -> None:
    """Make an unpacked tree what an installed one is: its links stay in it, its modules are indexed."""
    relocate(directory)
    if modules_below(directory, release):
        tell("indexing the modules", str)
        depmod(directory, release)


def _size_below(directory: str) -> int:
    """The size of all files below a directory, some of which may be disappearing."""
    total = 0
    for above, _, names in os.walk(directory):
        for name in names:
            with suppress(OSError):
                total += os.stat(os.path.join(above, name)).st_size
    return total


@contextmanager
def _workplace(above: str) -> Iterator[str]:
    """A directory to work in, on the file system of the result. What killed fetches left is removed.

    Its lock tells whether its fetch is still at work: the kernel of this machine releases it in any case.
    """
    os.makedirs(above, mode=0o700, exist_ok=True)
    for name in os.listdir(above):
        if name.startswith(_WORKING):
            _remove_abandoned(os.path.join(above, name))
    work = os.path.join(above, f"{_WORKING}{os.urandom(8).hex()}")
    os.mkdir(work, 0o700)
    descriptor = os.open(work, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)
        os.close(descriptor)


def _remove_abandoned(work: str) -> None:
    with suppress(OSError):
        descriptor = os.open(work, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(work, ignore_errors=True)
        finally:
            os.close(descriptor)
