"""An apt of our own: its lists and its settings are in a private directory, so it needs no root.

The system's mirrors, proxies and keys are used, and apt checks the signatures. Nothing of the system's apt is
changed, and none of its hooks runs.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence

from ukmod.errors import NotFoundError, UkmodError, UsageError
from ukmod.record import record

__all__ = [
    "Apt",
    "Mirrors",
    "check_suites",
    "configuration",
    "mirrors_of",
    "require_programs",
    "sources_of",
]

_PROGRAMS = ("apt-get", "apt-cache", "apt-config", "dpkg-deb")
_KEPT = re.compile(r"Acquire::(?!IndexTargets|Languages|GzipIndexes)|APT::Authentication|Dir::Etc\b")
"""The settings of the system's that are used: where its sources are, how they are reached and trusted."""
_SUITE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+~_-]*")
"""A word of a sources.list, and no more than one."""
_SIZE = re.compile(r"Size: ([0-9]{1,15})")
_KEYRINGS = {
    "Debian": "/usr/share/keyrings/debian-archive-keyring.gpg",
    "Ubuntu": "/usr/share/keyrings/ubuntu-archive-keyring.gpg",
}


@record
class Mirrors:
    """The mirrors that the system's configuration names: of releases, and of their security updates."""

    distribution: str
    """"Debian" or "Ubuntu"; empty if neither has a mirror."""
    releases: str = ""
    security: str = ""


def mirrors_of(targets: Iterable[str]) -> Mirrors:
    """The mirrors among apt's index targets, given as "LABEL|URI" each; the first of a kind counts."""
    first: dict[str, str] = {}
    for target in targets:
        label, _, address = target.strip().partition("|")
        first.setdefault(label, address)
    for distribution, security in (("Debian", "Debian-Security"), ("Ubuntu", "Ubuntu")):
        if distribution in first:
            return Mirrors(distribution, first[distribution], first.get(security, ""))
    return Mirrors("")


def sources_of(mirrors: Mirrors, suites: Iterable[str]) -> str:
    """The text of a sources.list with these suites. Raises NotFoundError if no mirror has one of them."""
    keyring = _KEYRINGS.get(mirrors.distribution, "")
    signed = f"[signed-by={keyring}] " if os.path.exists(keyring) else ""
    lines = []
    for suite in suites:
        address = mirrors.security if suite.endswith("-security") else mirrors.releases
        if not address:
            raise NotFoundError("apt's configuration names no mirror that has such a suite", subject=suite)
        lines.append(f"deb {signed}{address} {suite} main\n")
    return "".join(lines)


def configuration(system: Iterable[str], state: str, *, sources: str | None) -> str:
    """The text of apt.conf for a private state. ``system``: the lines that ``apt-config dump`` prints.

    sources: the only sources.list to read; None for the system's own.
    """
    settings = {
        "Dir::State": state,
        "Dir::State::status": f"{state}/status",
        "Dir::Cache": f"{state}/cache",
        "Dir::Cache::pkgcache": "",
        "Dir::Cache::srcpkgcache": "",
        "Dir::Etc::Main": "/dev/null",
        "Dir::Etc::Parts": "/dev/null",
        "APT::Architecture": "amd64",
        "APT::Sandbox::User": "root",  # nobody else may write to the directory
        "Acquire::Languages": "none",
        "Acquire::GzipIndexes": "true",
    }
    if sources is not None:
        settings |= {"Dir::Etc::SourceList": sources, "Dir::Etc::SourceParts": "/dev/null"}
    own = [f'{name} "{value}";' for name, value in settings.items()]
    kept = (line for line in system if _KEPT.match(line))
    return "\n".join([*kept, *own, 'APT::Architectures { "amd64"; };', ""])


def check_suites(suites: Iterable[str]) -> None:
    """Raise UsageError for text that is not the name of a suite: it would be more than a word to apt."""
    for suite in suites:
        if _SUITE.fullmatch(suite) is None:
            raise UsageError("is not the name of a suite, such as bookworm-backports", subject=suite)


def require_programs() -> None:
    """Raise NotFoundError if this is neither Debian nor Ubuntu, nor like them."""
    if missing := [name for name in _PROGRAMS if shutil.which(name) is None]:
        text = "kernels are fetched by apt, of Debian and Ubuntu, which is not installed here"
        raise NotFoundError(text, subject=", ".join(missing))


class Apt:
    """apt with a state of its own, in a directory that is removed by its owner."""

    def __init__(self, state: str, suites: Sequence[str] = (), mirrors: Mirrors | None = None) -> None:
        """Set it up for the system's own sources, or for suites of the mirrors that the system uses."""
        for name in ("lists/partial", "cache/archives/partial"):
            os.makedirs(os.path.join(state, name), exist_ok=True)
        sources = os.path.join(state, "sources.list") if suites else None
        _write(os.path.join(state, "status"), "")
        if sources is not None:
            _write(sources, sources_of(mirrors or Mirrors(""), suites))
        system = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=True).stdout
        config = os.path.join(state, "apt.conf")
        _write(config, configuration(system.splitlines(), state, sources=sources))
        self._environment = {**os.environ, "APT_CONFIG": config, "LC_ALL": "C"}

    def update(self) -> list[str]:
        """Fetch the lists; the lines in which apt complains, as lists of some sources may be missing."""
        done = self._run("apt-get", "-q", "update", check=False)
        lines = (done.stdout + done.stderr).splitlines()
        return [line for line in lines if line.startswith(("E:", "W:", "Err:"))]

    def mirrors(self) -> Mirrors:
        """The mirrors of the sources whose lists were fetched."""
        columns = "$(LABEL)|$(REPO_URI)"
        return mirrors_of(
            self._output("apt-get", "indextargets", "--format", columns, "Identifier: Packages")
        )

    def names(self) -> list[str]:
        """The names of the packages with kernels and what belongs to them."""
        return self._output("apt-cache", "pkgnames", "linux-")

    def depends(self, package: str) -> list[str]:
        """The names of the packages that a package depends on."""
        lines = self._output("apt-cache", "depends", "--important", package)
        return [line.split()[-1] for line in lines if line.strip().startswith("Depends:")]

    def size(self, package: str) -> int:
        """The size of a package's file in bytes; 0 if apt does not say."""
        lines = self._output("apt-cache", "show", "--no-all-versions", package)
        return next((int(found[1]) for line in lines if (found := _SIZE.fullmatch(line))), 0)

    def download(self, package: str, directory: str) -> str:
        """Fetch a package's file into a directory, which is empty; its path."""
        os.makedirs(directory)
        self._run("apt-get", "-q", "download", package, cwd=directory)
        (name,) = (name for name in os.listdir(directory) if name.endswith(".deb"))
        return os.path.join(directory, name)

    def unpack(self, file: str, directory: str) -> None:
        """Unpack a package's files into a directory; nothing of the package is executed."""
        self._run("dpkg-deb", "--extract", file, directory)

    def _output(self, *command: str) -> list[str]:
        return self._run(*command).stdout.splitlines()

    def _run(
        self, *command: str, check: bool = True, cwd: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            command, env=self._environment, cwd=cwd, capture_output=True, text=True, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        if check and done.returncode:
            said = (line for line in done.stderr.splitlines() if line.startswith(("E:", "dpkg-deb:")))
            complaint = " ".join(said)
            raise UkmodError(complaint or f"exit status {done.returncode}", subject=command[0])
        return done


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
