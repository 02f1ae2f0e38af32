"""Why a module would, or would not, be loaded: modprobe's plan with the reasons it keeps to itself.

"blacklist" is the word most often misread: it stops a module that was asked for by an alias, and nothing
else. An install line does not run for a module with soft dependencies. Only the first softdep line that
matches counts. All this goes without a word in modprobe; here each is a :class:`Note` that names the line.
"""

from __future__ import annotations

import difflib

from ukmod.kmod.objections import Inspector, KernelFacts, Note
from ukmod.kmod.plans import plan
from ukmod.kmod.wildcard import fnmatch
from ukmod.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ukmod.kmod.config import Command, Softdep
    from ukmod.kmod.context import Context
    from ukmod.kmod.loaded import State
    from ukmod.kmod.plans import Step, Target

__all__ = ["Explanation", "KernelFacts", "Note", "StepNotes", "TargetNotes", "explain"]

_NO_BLACKLIST = {
    "requested": "it was asked for by its name, and only -b makes a blacklist apply to names",
    "dependency": "it is a dependency",
    "softdep pre": "it is a soft dependency",
    "softdep post": "it is a soft dependency",
}


@record
class StepNotes:
    """One step of the plan and what there is to say about it."""

    step: Step
    notes: tuple[Note, ...]


@record
class TargetNotes:
    """One module that the word stands for.

    ``outcome`` is loads, runs (a command in its stead), fails, blacklisted, builtin or live (there already).
    """

    target: Target
    outcome: str
    notes: tuple[Note, ...] = ()
    steps: tuple[StepNotes, ...] = ()


@record
class Explanation:
    """The whole account for one word; without targets nothing answers to it, and ``notes`` say so."""

    word: str
    targets: tuple[TargetNotes, ...]
    notes: tuple[Note, ...] = ()

    @property
    def is_loaded(self) -> bool:
        """Whether in the end all that the word stands for is in the kernel, and by itself: no command ran."""
        outcomes = {target.outcome for target in self.targets}
        return bool(outcomes) and outcomes <= {"loads", "builtin", "live"}


def explain(
    context: Context,
    word: str,
    kernel: KernelFacts,
    *,
    state: State | None = None,
    use_blacklist: bool = False,
) -> Explanation:
    """Return the account of what ``modprobe WORD`` would do, and why; ``use_blacklist`` is its ``-b``.

    Raises what :func:`plan` raises.
    """
    decided = plan(context, word, state=state, use_blacklist=use_blacklist)
    inspector = Inspector(context, kernel)
    targets = tuple([_target(context, inspector, target) for target in decided.targets])
    return Explanation(word, targets, () if targets else tuple(_not_found(context, word)))


def _not_found(context: Context, word: str) -> Iterator[Note]:
    text = f"no module, alias, built-in module or install line answers to {word}"
    yield Note("not-found", text, fatal=True)
    near = difflib.get_close_matches(word.replace("-", "_"), list(context.tree.module_names()))
    if near:
        yield Note("similar", f"similar names: {', '.join(near)}")


def _target(context: Context, inspector: Inspector, target: Target) -> TargetNotes:
    if target.loaded is not None:
        text = "it is built into the kernel" if target.loaded == "builtin" else "it is loaded already"
        return TargetNotes(target, target.loaded, (Note(target.loaded, text),))
    if target.blacklisted is not None:
        asked = f"by the alias {target.reason.of}" if target.reason.kind == "alias" else "with -b"
        text = f"blacklisted, and asked for {asked}: modprobe loads nothing, and exits with 0"
        note = Note("blacklist", text, fatal=True, source=target.blacklisted)
        return TargetNotes(target, "blacklisted", (note,))
    steps: list[StepNotes] = []
    present: set[str] = set()
    for step in target.steps:
        notes = [*_blacklist(context, step), *_install(context, step), *_softdeps(context, step)]
        if step.action == "missing":
            notes.append(Note("missing", "there is no such module in the tree", fatal=True))
        elif step.action == "insmod" and step.path is not None:
            notes += inspector.notes(step.module, step.path, present)
        steps.append(StepNotes(step, tuple(notes)))
        present.add(step.module)
    return TargetNotes(target, _outcome(target, steps), (), tuple(steps))


def _outcome(target: Target, steps: list[StepNotes]) -> str:
    """Return how it ends: the first required step that fails is the end of it."""
    for one in steps:
        if one.step.required and one.step.action != "install" and any(note.fatal for note in one.notes):
            return "fails"
    own = {one.step.action for one in steps if one.step.module == target.module}
    return "runs" if "install" in own else "loads"


def _blacklist(context: Context, step: Step) -> Iterator[Note]:
    """Say why a blacklist line does not stop a module that is part of the plan."""
    for line in context.config.blacklists:
        if line.module == step.module and step.reason.kind in _NO_BLACKLIST:
            text = f"blacklisted to no effect: {_NO_BLACKLIST[step.reason.kind]}"
            yield Note("blacklist-ignored", text, source=line.source)


def _install(context: Context, step: Step) -> Iterator[Note]:
    lines = [line for line in context.config.install if fnmatch(line.pattern, step.module)]
    if not lines:
        return
    if step.command is not None:
        yield Note("install", f"a command runs in its stead: {step.command}", source=step.command_source)
    else:
        softdeps = context.softdeps(context.by_name(step.module))
        text = f"its install line ({lines[0].source}) is not run: a module with soft dependencies has none"
        yield Note("install-ignored", text, source=softdeps.source)
    if lines[1:]:
        text = f"the first install line counts alone, not {_places(lines[1:])}"
        yield Note("install-shadowed", text, source=lines[0].source)


def _softdeps(context: Context, step: Step) -> Iterator[Note]:
    lines = [line for line in context.config.softdeps if fnmatch(line.pattern, step.module)]
    if not lines:
        return
    first, *others = lines
    for name in (*first.pre, *first.post):
        if not context.lookup(name):
            yield Note("softdep-unknown", f"its soft dependency {name} is unknown", source=first.source)
    if others:
        text = f"the first softdep line counts alone, not {_places(others)}"
        yield Note("softdep-shadowed", text, source=first.source)


def _places(lines: Sequence[Command | Softdep]) -> str:
    return ", ".join([str(line.source) for line in lines])
