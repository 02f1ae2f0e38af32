"""The tools' values as JSON: what ``--json`` prints."""

from __future__ import annotations

import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from ukmod.kmod.loaded import LoadedModule
    from ukmod.kmod.plans import Step

__all__ = ["modules_json", "steps_json"]


def steps_json(steps: Iterable[Step]) -> str:
    """Show steps as a list of objects, reasons and sources included."""
    return _dump(
        [
            {
                "action": step.action,
                "module": step.module,
                "path": step.path,
                "options": step.options.strip(),
                "command": step.command,
                "required": step.required,
                "reason": {
                    "kind": step.reason.kind,
                    "of": step.reason.of or None,
                    "source": _text(step.reason.source),
                },
                "option_sources": [
                    {"text": option.text.strip(), "source": _text(option.source)}
                    for option in step.option_sources
                ],
                "command_source": _text(step.command_source),
            }
            for step in steps
        ]
    )


def modules_json(modules: Iterable[LoadedModule]) -> str:
    """Show loaded modules as a list of objects."""
    return _dump(
        [
            {"module": one.name, "size": one.size, "used": one.refcnt, "by": list(one.holders)}
            for one in modules
        ]
    )


def _text(source: object) -> str | None:
    return None if source is None else str(source)


def _dump(value: object) -> str:
    return json.dumps(value, indent=2) + "\n"
