"""Unloading: what ``modprobe -r`` does, step by step.

In order ("man modprobe(8)" and libkmod): the module's post-softdeps, its holders if they are to go too,
itself, the dependencies nobody uses any more, its pre-softdeps. Each decision looks at what the kernel holds
at that moment, which the steps before have changed; so :func:`removal` is a generator, to which the result
of each step is sent.
"""

from __future__ import annotations

import errno

from ukmod.kmod.context import Softdeps
from ukmod.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator

    from ukmod.kmod.config import Source
    from ukmod.kmod.context import Context, Module
    from ukmod.kmod.loaded import State

__all__ = ["RemovalPlan", "RemovalStep", "plan_removal", "removal"]


@record
class RemovalStep:
    """One thing to do.

    ``action`` is rmmod, remove (run ``command``) or refuse: the module stays, ``message`` says why.
    ``reason`` is how the module came to be concerned.
    """

    action: str
    module: str
    reason: str
    command: str | None = None
    message: str = ""
    source: Source | None = None

    def __str__(self) -> str:
        if self.action == "rmmod":
            return f"rmmod {self.module}"
        return f"remove {self.command}" if self.action == "remove" else self.message


@record
class RemovalPlan:
    """The steps of ``modprobe -r WORD``; ``error`` is the errno it ends with, 0 for success."""

    word: str
    steps: tuple[RemovalStep, ...]
    error: int = 0

    def __str__(self) -> str:
        return "\n".join(str(step) for step in self.steps)


@record
class _Rules:
    """How to remove; the same for a module and all it brings along."""

    context: Context
    state: State
    ignore_commands: bool
    ignore_loaded: bool
    first_time: bool
    waits: bool


def removal(
    context: Context,
    module: Module,
    state: State,
    *,
    holders: bool = False,
    ignore_commands: bool = False,
    ignore_loaded: bool = False,
    first_time: bool = False,
    waits: bool = False,
) -> Generator[RemovalStep, int, int]:
    """Yield the steps that unload a module and what was there for its sake.

    It is sent the errno of each step (0 if it went well), and returns one itself. ``holders`` removes the
    module's users too, ``waits`` leaves it to the kernel to say that it is in use.
    """
    rules = _Rules(context, state, ignore_commands, ignore_loaded, first_time, waits)
    # A stack of walks instead of a walk that calls itself: softdeps may be chained at any depth.
    walks = [_walk(rules, module, "requested", frozenset(), holders=holders)]
    answer: int | None = None
    while walks:
        try:
            # A generator that has not begun takes nothing but None.
            item = next(walks[-1]) if answer is None else walks[-1].send(answer)
        except StopIteration as stop:
            walks.pop()
            answer = stop.value
            continue
        if isinstance(item, RemovalStep):
            answer = yield item
        else:
            walks.append(item)
            answer = None
    return answer or 0


def _walk(
    rules: _Rules, module: Module, reason: str, under: frozenset[Module], *, holders: bool = False
) -> _Walk:
    """Yield a module's steps, and walks over the modules that go with it; ``under`` is what led here."""
    context, name = rules.context, module.name
    if module in under:
        return 0  # softdeps in a circle: libkmod would never come back
    under |= {module}
    softdeps = Softdeps() if rules.ignore_commands else context.softdeps(module)
    command = None if rules.ignore_commands else context.remove_command(module)
    looks = command is None and not rules.ignore_loaded
    if looks and (refusal := _absent(rules, module, reason, from_list=len(under) > 1)) is not None:
        if not refusal.message:
            return 0
        yield refusal
        return errno.ENOENT
    for other in reversed(softdeps.post):
        yield _walk(rules, other, f"softdep post of {name}", under)
    if holders and (error := (yield _holders(rules, name, under))):
        return error
    if looks and not rules.waits and (rules.state.refcnt(name) or 0) > 0:
        yield RemovalStep("refuse", name, reason, message=f"Module {name} is in use.")
        return errno.EBUSY
    if command is not None:
        error = yield RemovalStep("remove", name, reason, command.command, source=command.source)
    else:
        error = yield _itself(rules, module, reason)
    if error:
        return error
    for other in reversed(softdeps.pre):
        yield _walk(rules, other, f"softdep pre of {name}", under)
    return 0


def _holders(rules: _Rules, name: str, under: frozenset[Module]) -> _Walk:
    """Remove the modules that use this one; the first that fails ends it."""
    for user in reversed([rules.context.by_name(user) for user in rules.state.holders(name)]):
        if error := (yield _walk(rules, user, f"holder of {name}", under)):
            return error
    return 0


def _itself(rules: _Rules, module: Module, reason: str) -> _Walk:
    """Remove the module, then those of its dependencies that nobody uses any more; if they fail, so be it."""
    is_there = rules.ignore_loaded or rules.state.refcnt(module.name) is not None
    if is_there and (error := (yield RemovalStep("rmmod", module.name, reason))):
        return error
    for dependency in rules.context.dependencies(module):
        if rules.state.refcnt(dependency.name) == 0:
            yield RemovalStep("rmmod", dependency.name, f"unused dependency of {module.name}")
    return 0


if TYPE_CHECKING:
    _Walk = Generator["RemovalStep | _Walk", int, int]


def _absent(rules: _Rules, module: Module, reason: str, *, from_list: bool) -> RemovalStep | None:
    """Return None if the module is loaded, else a refusal; without a message if that is no error.

    A built-in module is an error only if it was asked for by name, not ``from_list`` of softdeps or holders.
    """
    message = ""
    if rules.context.is_builtin(module):
        message = "" if from_list else f"Module {module.name} is builtin."
    elif rules.state.initstate(module.name) is None:
        message = f"Module {module.name} is not in kernel." if rules.first_time else ""
    else:
        return None
    return RemovalStep("refuse", module.name, reason, message=message)


class _Imagined:
    """A state as it would be after some removals."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._gone: set[str] = set()
        self._dropped: dict[str, int] = {}

    def initstate(self, name: str) -> str | None:
        return None if name in self._gone else self._state.initstate(name)

    def refcnt(self, name: str) -> int | None:
        count = None if name in self._gone else self._state.refcnt(name)
        return None if count is None else max(count - self._dropped.get(name, 0), 0)

    def holders(self, name: str) -> list[str]:
        return [holder for holder in self._state.holders(name) if holder not in self._gone]

    def remove(self, context: Context, name: str) -> None:
        self._gone.add(name)
        for dependency in context.dependencies(context.by_name(name)):
            if name in self._state.holders(dependency.name):
                self._dropped[dependency.name] = self._dropped.get(dependency.name, 0) + 1


def plan_removal(
    context: Context,
    word: str,
    state: State,
    *,
    holders: bool = False,
    ignore_commands: bool = False,
    first_time: bool = False,
) -> RemovalPlan:
    """Return what ``modprobe -r WORD`` would do if every step succeeded, given what the kernel holds now."""
    context.forget()
    imagined = _Imagined(state)
    steps: list[RemovalStep] = []
    found = context.lookup(word)
    if not found:
        steps.append(RemovalStep("refuse", word, "requested", message=f"Module {word} not found."))
        return RemovalPlan(word, tuple(steps), errno.ENOENT)
    error = 0
    for module in found:
        walk = removal(
            context,
            module,
            imagined,
            holders=holders,
            ignore_commands=ignore_commands,
            first_time=first_time,
        )
        answer: int | None = None
        while True:
            try:
                step = next(walk) if answer is None else walk.send(answer)
            except StopIteration as stop:
                error = stop.value
                break
            steps.append(step)
            answer = 0
            if step.action == "rmmod":
                imagined.remove(context, step.module)
        if error:
            break
    return RemovalPlan(word, tuple(steps), error)
