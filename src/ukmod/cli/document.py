"""The JSON that commands print for programs: each document says which schema it follows.

docs/reference/json.md describes the schemas. A schema's number changes when a member is removed or
changes its meaning, not when one is added.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["SCHEMAS", "print_document", "print_json"]

SCHEMAS = {
    "run": 1,
    "survey": 1,
    "survey-diff": 1,
    "explain": 1,
    "audit": 1,
    "surface": 1,
    "policy": 1,
    "lint": 1,
    "closure": 1,
    "fits": 1,
    "graph": 1,
    "kernel": 1,
    "kernels": 1,
    "matrix": 1,
    "profile": 1,
    "examples": 1,
    "tools": 1,
}
"""The number of each document's schema: of a command's, of ``ukmod kernel list`` and ``fetch``, of
``ukmod run`` on several kernels. ``ukmod demo`` follows that of run.
"""


def print_document(command: str, content: Mapping[str, object]) -> None:
    """Print one JSON document to standard output, headed by its schema and the version of ukmod."""
    from ukmod import __version__

    head = {"schema": f"ukmod.{command}/{SCHEMAS[command]}", "ukmod": __version__}
    print_json({**head, **content})


def print_json(content: Mapping[str, object]) -> None:
    """Print a value as JSON, and nothing else."""
    import json

    sys.stdout.write(json.dumps(content, indent=1).replace("\x7f", "\\u007f") + "\n")
