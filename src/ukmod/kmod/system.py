"""The system that a module tree belongs to: what it holds, apart from modules, that decides what is loaded.

That is its kernel's command line and configuration, its sysctl settings and its programs. The system is the
one that this process runs on if the tree is the running kernel's. Otherwise it is an image, and its boot
loader's entries say how the kernel will be started.
"""

from __future__ import annotations

import os
import stat

from ukmod.errors import NotFoundError
from ukmod.kmod.boot import boot_arguments
from ukmod.kmod.bootfiles import names_in
from ukmod.kmod.config import Source
from ukmod.kmod.context import Context
from ukmod.kmod.enforcement import enforced_by, locked_down
from ukmod.kmod.explanation import Explainer
from ukmod.kmod.initcalls import builtin_initcalls
from ukmod.kmod.kernelargs import BootArguments, policy_of
from ukmod.kmod.lint import lint
from ukmod.kmod.linux import LinuxHost
from ukmod.kmod.loaded import NothingLoaded, SysModules
from ukmod.kmod.overlay import OverlayFiles
from ukmod.kmod.predict.programs import DIRECTORIES
from ukmod.kmod.regular import read_regular
from ukmod.kmod.sysctl import modules_disabled
from ukmod.record import record, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ukmod.kmod.host import Files
    from ukmod.kmod.initramfs import Initramfs
    from ukmod.kmod.kernelargs import KernelPolicy
    from ukmod.kmod.lint import Finding
    from ukmod.kmod.objections import Inspector
    from ukmod.kmod.tree import Tree

__all__ = ["System"]

_LOCKDOWN = "/sys/kernel/security/lockdown"
_EXPLAINED = frozenset(
    ("built-in", "install-ignored", "shadowed", "diverted", "parameter-unknown", "parameter-value")
)
"""Kinds of findings of which an explanation has notes of its own."""


@record
class System:
    """A system. ``boots`` are the command lines that its kernel may be started with, at least one.

    ``initramfs`` are those that its kernel may be started with; none if they do not matter.
    """

    tree: Tree
    root: str
    is_live: bool
    boots: tuple[BootArguments, ...]
    initramfs: tuple[Initramfs, ...] = ()

    @classmethod
    def of(cls, tree: Tree, root: str, cmdline: str | None = None) -> System:
        """Return the system below a root; ``cmdline`` is its kernel's command line, or a file with it.

        Raises NotFoundError if there is no such file.
        """
        root = os.path.abspath(root)
        host = LinuxHost()
        is_live = root == "/" and tree.release == host.release()
        if cmdline is not None:
            boots = [_named(cmdline)]
        elif is_live:
            boots = [BootArguments(_proc_cmdline(host), Source("/proc/cmdline"))]
        else:
            boots = boot_arguments(tree.files, root, tree.release)
        return cls(tree, root, is_live, tuple(boots or [BootArguments("", Source("no boot entry"))]))

    def context(
        self, config_paths: Sequence[str] | None = None, boot: BootArguments | None = None
    ) -> Context:
        """Return the configuration as it applies with a command line; by default with the first."""
        boot = self.boots[0] if boot is None else boot
        return Context.open(
            self.tree,
            config_paths=config_paths or None,
            kernel_cmdline=os.fsencode(boot.text),
            cmdline_source=boot.source,
        )

    def explainers(
        self, inspector: Inspector, config_paths: Sequence[str] | None = None
    ) -> list[tuple[BootArguments, Explainer]]:
        """Return an explainer for each command line; they share what the inspector has read.

        Where the configuration depends on kmod's version, there is one for each way to read it.
        """
        initcalls = self.initcalls()
        findings = self._findings(config_paths)
        state = SysModules(LinuxHost()) if self.is_live else NothingLoaded()
        return [
            (
                boot,
                Explainer(
                    system.context(config_paths, boot),
                    inspector,
                    policy=self.policy(boot),
                    state=state,
                    programs=self.program,
                    initcalls=initcalls,
                    config_paths=config_paths or (),
                    findings=findings,
                ),
            )
            for system in (self, *self._as_old_versions_read_it(findings))
            for boot in system.boots
        ]

    def _as_old_versions_read_it(self, findings: Sequence[Finding]) -> Iterator[System]:
        """Yield the system as old versions of kmod see it, where that matters.

        kmod passes over a link that leads nowhere: in old versions it hides other files all the same. These
        also read files whose names end in .alias, and those before 32 nothing in /usr/lib/modprobe.d.
        """
        hiding = [one.source for one in findings if one.kind == "unreadable" and one.about]
        if hiding:
            yield self._with(
                {source.file: b"" for source in hiding},
                hiding[0],
                "if modprobe is of an old version, for which this file hides others of its name",
            )
        read = [one.source for one in findings if one.kind == "old-suffix"]
        if read:
            yield self._with(
                {f"{source.file}.conf": self.tree.files.read(source.file) for source in read},
                read[0],
                "if modprobe is of an old version, which reads this file",
            )
        if unread := self._unread_by_old_versions():
            yield self._with(
                unread,
                Source(next(iter(unread))),
                "if modprobe is of a version before 32, which does not read its directory",
            )

    def _with(self, texts: Mapping[str, bytes], source: Source, condition: str) -> System:
        """Return the system with other files in some places; that it may be so is said at ``source``."""
        files = OverlayFiles(self.tree.files, texts)
        boots = [replace(boot, source=source, condition=condition) for boot in self.boots]
        return replace(self, tree=self.tree.through(files), boots=tuple(boots))

    def _unread_by_old_versions(self) -> dict[str, bytes]:
        """Return the files of /usr/lib/modprobe.d, with what of their names old versions read in /lib.

        There are none where /lib is a link to /usr/lib.
        """
        files, root = self.tree.files, self.root.rstrip("/")
        new, old = f"{root}/usr/lib/modprobe.d", f"{root}/lib/modprobe.d"
        if self.is_live or files.real(new) == files.real(old):
            return {}
        names = [name for name in names_in(files, new) if name.endswith(".conf")]
        return {f"{new}/{name}": _content(files, f"{old}/{name}") for name in names}

    def initcalls(self) -> dict[str, str] | None:
        """Return the module of each built-in init function, by System.map; None if there is no such file."""
        root = self.root.rstrip("/")
        maps = (f"{root}/boot/System.map-{self.tree.release}", f"{self.tree.dirname}/System.map")
        return builtin_initcalls(self.tree.files, maps)

    def _findings(self, config_paths: Sequence[str] | None) -> list[Finding]:
        """Return what is wrong with the configuration, as far as explain does not say it anyway."""
        try:
            found = lint(self.context(config_paths), boots=self.boots, config_paths=config_paths)
        except NotFoundError:
            return []  # without indexes there are no names, but there may be a file to explain
        return [one for one in found if one.kind not in _EXPLAINED and one.severity != "note"]

    def policy(self, boot: BootArguments) -> KernelPolicy:
        """Return what makes the kernel refuse modules: its command line, and sysctl(8)."""
        policy = self._signing(policy_of(boot), boot)
        if self.is_live:
            path = "/proc/sys/kernel/modules_disabled"
            is_set = _text(path)[:1] == "1"
            return replace(policy, disabled=("kernel.modules_disabled=1", Source(path))) if is_set else policy
        source = modules_disabled(self.tree.files, self.root.rstrip("/"))
        return (
            policy
            if source is None
            else replace(policy, disabled_later=("kernel.modules_disabled=1", source))
        )

    def _signing(self, policy: KernelPolicy, boot: BootArguments) -> KernelPolicy:
        """Return a policy with what is known of how the kernel was built."""
        path = "/sys/module/module/parameters/sig_enforce"
        if self.is_live and (first := _text(path)[:1]):
            enforced = ("module.sig_enforce=Y", Source(path)) if first == "Y" else None
            if level := locked_down(_text(_LOCKDOWN)):
                enforced = enforced or (f"lockdown={level}", Source(_LOCKDOWN))
            return replace(policy, enforced=enforced, enforced_if_built=())
        config = self._configuration()
        if config is None:
            return policy
        enforced = enforced_by(policy, boot, config, Source(self._config_path()))
        return replace(policy, enforced=enforced, enforced_if_built=())

    def _config_path(self) -> str:
        return f"{self.root.rstrip('/')}/boot/config-{self.tree.release}"

    def _configuration(self) -> frozenset[str] | None:
        """Return the lines of the kernel's configuration; None if it is not at hand."""
        try:
            return frozenset(os.fsdecode(self.tree.files.read(self._config_path())).splitlines())
        except OSError:
            return None

    def unpacks(self) -> str | None:
        """Return the compression that the kernel unpacks itself; empty if it does not, None if unknown.

        The kernel's configuration says so, or /sys/module/compression of the one that runs.
        """
        if self.is_live:
            return LinuxHost().compression()
        options = self._configuration()
        if options is None:
            return None
        if "CONFIG_MODULE_DECOMPRESS=y" not in options:
            return ""
        names = ("gzip", "xz", "zstd")
        return next((name for name in names if f"CONFIG_MODULE_COMPRESS_{name.upper()}=y" in options), "")

    def program(self, path: str) -> str | None:
        """Return the name of the file that a program's path or name leads to, at the end of all links.

        Empty if there is none; None if the system's programs are not at hand.
        """
        if not any(self._file(shell) for shell in ("/bin/sh", "/usr/bin/sh")):
            return None
        paths = [path] if "/" in path else [f"{directory}/{path}" for directory in DIRECTORIES]
        if not paths[0].startswith("/"):
            return None
        return next((name for one in paths if (name := self._file(one))), "")

    def _file(self, path: str) -> str:
        """Return the name of the regular file that a path leads to, or nothing."""
        files, path = self.tree.files, self.root.rstrip("/") + path
        try:
            is_file = stat.S_ISREG(files.stat(path).st_mode)
            return os.path.basename(files.follow(path)[1]) if is_file else ""
        except OSError:
            return ""


def _content(files: Files, path: str) -> bytes:
    """Return a file's content; nothing if it cannot be read."""
    try:
        return files.read(path)
    except OSError:
        return b""


def _text(path: str) -> str:
    """Return the text of a file of /proc or /sys; nothing if it cannot be read."""
    try:
        return os.fsdecode(read_regular(path))
    except OSError:
        return ""


def _proc_cmdline(host: LinuxHost) -> str:
    try:
        return os.fsdecode(host.cmdline())
    except OSError:
        return ""


def _named(cmdline: str) -> BootArguments:
    """Return a command line that was given as such, or in a file: a path has a slash, and no blank."""
    is_path = "/" in cmdline.partition("=")[0] and not any(char.isspace() for char in cmdline)
    if not is_path and not os.path.isfile(cmdline):
        return BootArguments(cmdline, Source("--cmdline"))
    try:
        return BootArguments(os.fsdecode(read_regular(cmdline)), Source(cmdline))
    except OSError as error:
        raise NotFoundError(error.strerror or str(error), subject=cmdline) from error
