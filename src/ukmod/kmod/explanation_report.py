"""An :class:`Explanation` for people, and as JSON."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ukmod.kmod.explanation import Explanation, StepNotes, TargetNotes
    from ukmod.kmod.objections import Note

__all__ = ["as_lines", "as_object"]

_OUTCOMES = {
    "loads": "would be loaded",
    "runs": "would not be loaded: a command runs in its stead",
    "disabled": "is built in, and never initialised",
    "unknown": "cannot tell",
    "fails": "would not be loaded: that fails",
    "blacklisted": "would not be loaded",
    "builtin": "needs no loading",
    "live": "needs no loading",
}


def as_lines(explanation: Explanation) -> list[str]:
    """Return the account as lines of text, steps numbered in the order they are taken."""
    lines: list[str] = []
    if not explanation.targets:
        text = "not found" if explanation.verdict == "not found" else "cannot tell"
        lines.append(f"{explanation.word}: {text}")
    elif explanation.verdict == "unknown" and not any(
        one.outcome == "unknown" for one in explanation.targets
    ):
        lines.append(f"{explanation.word}: cannot tell: it depends")
    for target in explanation.targets:
        lines += _target(explanation.word, target)
    lines += _notes(explanation.notes, "  ")
    return lines


def _target(word: str, notes: TargetNotes) -> Iterator[str]:
    target = notes.target
    name = word if word == target.module else f"{word}: {target.module}"
    yield f"{name}: {_OUTCOMES[notes.outcome]}"
    if target.reason.kind == "alias":
        yield f"  by the alias {target.reason.of} ({target.reason.source})"
    yield from _notes(notes.notes, "  ")
    for number, step in enumerate(notes.steps, 1):
        yield from _step(number, step)


def _step(number: int, notes: StepNotes) -> Iterator[str]:
    step = notes.step
    what = {"install": f"run {step.command}", "insmod": f"load {step.path}"}.get(step.action)
    optional = "" if step.required else ", may fail"
    reason = "" if step.reason.kind in ("requested", "alias") else f": {step.reason}{optional}"
    yield f"  {number}. {what or f'{step.action} {step.module}'}{reason}"
    for option in step.option_sources:
        yield f"       options {option}"
    yield from _notes(notes.notes, "       ")


def _notes(notes: Iterable[Note], indent: str) -> list[str]:
    return [f"{indent}{'! ' if note.fatal else ''}{note}" for note in notes]


def as_object(explanation: Explanation) -> dict[str, object]:
    """Return the account as a value for JSON."""
    return {
        "word": explanation.word,
        "verdict": explanation.verdict,
        "notes": _note_objects(explanation.notes),
        "targets": [
            {
                "module": notes.target.module,
                "outcome": notes.outcome,
                "reason": str(notes.target.reason),
                "notes": _note_objects(notes.notes),
                "steps": [_step_object(step) for step in notes.steps],
            }
            for notes in explanation.targets
        ],
    }


def _step_object(notes: StepNotes) -> dict[str, object]:
    step = notes.step
    return {
        "action": step.action,
        "module": step.module,
        "path": step.path,
        "command": step.command,
        "options": step.options.strip(),
        "required": step.required,
        "reason": str(step.reason),
        "notes": _note_objects(notes.notes),
    }


def _note_objects(notes: Iterable[Note]) -> list[dict[str, object]]:
    return [
        {
            "kind": note.kind,
            "text": note.text,
            "fatal": note.fatal,
            "source": None if note.source is None else str(note.source),
        }
        for note in notes
    ]
