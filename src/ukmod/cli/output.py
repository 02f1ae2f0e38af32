"""Files that commands write: whole, or not at all."""

from __future__ import annotations

import os
import sys

from ukmod.errors import UkmodError
from ukmod.kmod.temporary import replace_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["format_of", "write_bytes"]

_SUFFIXES = {".mmd": "mermaid", ".mermaid": "mermaid", ".html": "html", ".htm": "html"}


def format_of(path: str, default: str, **own: str) -> str:
    """Return the format that a file's suffix stands for; ``own`` are the command's, beside a picture's."""
    suffix = os.path.splitext(path)[1].lower()
    return _SUFFIXES.get(suffix) or own.get(suffix[1:], default)


def write_bytes(pieces: Iterable[bytes | memoryview], path: str | None) -> None:
    """Write a file, or standard output if ``path`` is None. A file that is there is replaced at the end.

    Raises UkmodError if the file cannot be written; then nothing has changed. A device or a pipe is written
    to as it is.
    """
    if path is None:
        sys.stdout.flush()
        for piece in pieces:
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
        return
    try:
        if os.path.exists(path) and not os.path.isfile(path):
            with open(path, "wb") as file:
                file.writelines(pieces)
        else:
            replace_file(os.path.realpath(path), pieces, sync=True)
    except OSError as error:
        raise UkmodError(
            f"cannot be written: {error.strerror or error}", errno=error.errno, subject=path
        ) from error
