"""modprobe's decisions as a value, which can be printed, compared or carried out.

Order of the steps ("man modprobe(8)", "man modprobe.d(5)" and libkmod where they are silent): for each
dependency its pre-softdeps, itself, its post-softdeps; then the same for the module asked for. Soft
dependencies bring their own dependencies along.
"""

from __future__ import annotations

from ukmod.kmod.loaded import NothingLoaded
from ukmod.kmod.names import is_path
from ukmod.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ukmod.kmod.config import Blacklist, Source
    from ukmod.kmod.context import Context, Module
    from ukmod.kmod.loaded import State

__all__ = ["OptionText", "Plan", "Reason", "Step", "Target", "is_in_kernel", "plan", "plan_target", "resolve"]


@record
class Reason:
    """Why a module is there.

    ``kind`` is requested (by its name or path), alias, dependency, softdep pre or softdep post; ``of`` the
    alias or the module it is there for; ``source`` the line or index that says so.
    """

    kind: str
    of: str = ""
    source: Source | None = None

    def __str__(self) -> str:
        words = self.kind if self.kind in {"requested", "alias"} else f"{self.kind} of"
        return " ".join(filter(None, (words, self.of, f"({self.source})" if self.source else "")))


@record
class OptionText:
    """Options for a module and where they are from; no source: the command line."""

    text: str
    source: Source | None = None

    def __str__(self) -> str:
        return f"{self.text.strip()} ({self.source or 'argument'})"


@record
class Step:
    """One thing to do.

    ``action`` is insmod (load ``path``), install (run ``command``), builtin (nothing: the kernel has it) or
    missing (there is no such module). ``options`` is exactly what the kernel is given, blanks included.
    ``required`` is False for what only a softdep asks for: its failure is none.
    """

    action: str
    module: str
    path: str | None
    options: str
    command: str | None
    required: bool
    reason: Reason
    option_sources: tuple[OptionText, ...] = ()
    command_source: Source | None = None

    def __str__(self) -> str:
        """Show the step as ``modprobe --show-depends`` does; empty if that shows nothing."""
        if self.action == "insmod":
            return f"insmod {self.path} {self.options}"
        if self.action == "install":
            return f"install {self.command} {self.options}"
        return f"builtin {self.module}" if self.action == "builtin" else ""


@record
class Target:
    """A module that the word stands for, and the steps to have it.

    There are no steps if it is ``loaded`` already (live, or builtin), or if the line ``blacklisted`` stops
    it.
    """

    module: str
    reason: Reason
    steps: tuple[Step, ...] = ()
    loaded: str | None = None
    blacklisted: Source | None = None


@record
class Plan:
    """Everything modprobe does for one word; no targets means that no module answers to it."""

    word: str
    targets: tuple[Target, ...]

    def __iter__(self) -> Iterator[Step]:
        for target in self.targets:
            yield from target.steps

    def __str__(self) -> str:
        return "\n".join(filter(None, map(str, self)))


class _Entry:
    """A module's place in the order."""

    __slots__ = ("module", "reason")

    def __init__(self, module: Module, reason: Reason) -> None:
        self.module = module
        self.reason = reason


def plan(
    context: Context,
    word: str,
    options: str | None = None,
    *,
    state: State | None = None,
    ignore_loaded: bool = False,
    ignore_commands: bool = False,
    use_blacklist: bool = False,
) -> Plan:
    """Return what ``modprobe WORD OPTIONS`` would do.

    ``state`` is what the kernel holds (nothing, by default); ``ignore_loaded`` plans all steps all the same
    (``-D``), ``ignore_commands`` is ``-i``, ``use_blacklist`` is ``-b``.

    Raises OSError if the word is a path to no file, NotFoundError if it is a name and the tree has no
    indexes.
    """
    if not is_path(word):
        context.tree.require_indexes()
    context.forget()
    targets = [
        plan_target(
            context,
            module,
            options,
            state=NothingLoaded() if state is None else state,
            ignore_loaded=ignore_loaded,
            ignore_commands=ignore_commands,
            use_blacklist=use_blacklist,
        )
        for module in resolve(context, word)
    ]
    return Plan(word, tuple(targets))


def resolve(context: Context, word: str) -> list[Module]:
    """Return the modules a word stands for; it is a path if it begins with ``/`` or ``./``."""
    return [context.by_path(word)] if is_path(word) else context.lookup(word)


def plan_target(
    context: Context,
    module: Module,
    options: str | None,
    *,
    state: State,
    ignore_loaded: bool,
    ignore_commands: bool,
    use_blacklist: bool,
) -> Target:
    """Plan for one module; see :func:`plan`."""
    reason = Reason("requested") if module.alias is None else Reason("alias", module.alias, module.origin)
    if not ignore_loaded and is_in_kernel(context, module, state):
        loaded = "builtin" if context.is_builtin(module) else "live"
        return Target(module.name, reason, loaded=loaded)
    blacklist: Blacklist | None = context.blacklist(module)
    if blacklist is not None and (module.alias is not None or use_blacklist):
        return Target(module.name, reason, blacklisted=blacklist.source)
    order = _Order(context, module, reason, ignore_commands=ignore_commands)
    steps = [
        _step(context, entry, order, options if entry.module is module else None) for entry in order.entries
    ]
    return Target(module.name, reason, tuple(steps))


def is_in_kernel(context: Context, module: Module, state: State) -> bool:
    """Tell whether there is nothing to do: the module is built in, or loaded and initialised."""
    return context.is_builtin(module) or state.initstate(module.name) == "live"


class _Order:
    """The order of loading: a walk over dependencies and softdeps that visits each module once.

    A dependency is placed without asking whether it was: the same module may be there twice, and the second
    time it is loaded already. libkmod does so, and ``--show-depends`` prints both.
    """

    def __init__(self, context: Context, module: Module, reason: Reason, *, ignore_commands: bool) -> None:
        self.entries: list[_Entry] = []
        self.required: set[Module] = {module, *context.dependencies(module)}
        self.without_command: set[Module] = set()
        self._context = context
        self._visited: set[Module] = set()
        # What is left to do, last first. Softdeps may be chained at any depth: recursion would run out of
        # stack.
        self._todo: list[tuple[Callable[..., None], tuple[object, ...]]] = []
        self._visit(module, reason, ignore_commands=ignore_commands)
        while self._todo:
            function, arguments = self._todo.pop()
            function(*arguments)

    def _visit(self, module: Module, reason: Reason, *, ignore_commands: bool = False) -> None:
        """Place a module after all it needs."""
        if module in self._visited:
            return
        self._visited.add(module)
        if ignore_commands:
            self._todo.append((self._append, (module, reason, True)))
        else:
            self._todo.append((self._place, (module, reason)))
        because = Reason("dependency", module.name)
        for dependency in reversed(self._context.dependencies(module)):
            self._todo.append((self._place, (dependency, because)))

    def _place(self, module: Module, reason: Reason) -> None:
        """Place a module between its softdeps.

        A module with softdeps has its install command ignored: both say what else to load, and libkmod lets
        softdep win.
        """
        softdeps = self._context.softdeps(module)
        self._visit_later(softdeps.post, Reason("softdep post", module.name, softdeps.source))
        self._todo.append((self._append, (module, reason, bool(softdeps))))
        self._visit_later(softdeps.pre, Reason("softdep pre", module.name, softdeps.source))

    def _visit_later(self, modules: Sequence[Module], reason: Reason) -> None:
        for module in reversed(modules):
            self._todo.append((self._visit, (module, reason)))

    def _append(self, module: Module, reason: Reason, without_command: bool) -> None:  # noqa: FBT001 - from the list of things to do
        self.entries.append(_Entry(module, reason))
        if without_command:
            self.without_command.add(module)


def _step(context: Context, entry: _Entry, order: _Order, extra: str | None) -> Step:
    module = entry.module
    lines = context.options(module)
    configured = " ".join(line.text for line in lines)
    # A blank separates them even when nothing follows.
    options = f"{configured} {extra or ''}" if configured else extra or ""
    sources = [OptionText(line.text, line.source) for line in lines]
    if extra:
        sources.append(OptionText(extra))
    install = context.install_command(module)
    command = None if module in order.without_command else install
    path = context.path_of(module)
    if command is not None:
        action = "install"
    elif path is not None:
        action = "insmod"
    else:
        action = "builtin" if context.is_builtin(module) else "missing"
    return Step(
        action,
        module.name,
        path,
        options,
        None if command is None else command.command,
        module in order.required,
        entry.reason,
        tuple(sources),
        None if command is None else command.source,
    )
