"""Calls of request_module() in a kernel image, by its code and its symbols: ukmod.kmod.audit.requests."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from ukmod.errors import FormatError
from ukmod.kmod.audit.requests import (
    FUNCTION,
    OPERAND,
    ModuleRequest,
    format_text,
    formats_of_call,
)
from ukmod.machine.image.callers import calls
from ukmod.machine.registers import MASK64

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ukmod.machine.image.image import KernelImage

__all__ = ["image_requests"]

_SIZE = 1 + OPERAND


def image_requests(image: KernelImage) -> list[ModuleRequest]:
    """Return the calls in an image, by rising address; FormatError if it has no symbols."""
    target = image.symbols.get(FUNCTION)
    return [] if target is None else list(_calls(image, target))


def _calls(image: KernelImage, target: int) -> Iterator[ModuleRequest]:
    for section in image.sections:
        if not section.name.startswith((".text", ".init.text")):
            continue
        code = image.vmlinux.elf.section_data(section)
        for address, _ in calls(image, (target,), section.name):
            yield _request(image, code, section.addr, address - section.addr)


def _request(image: KernelImage, code: bytes, base: int, at: int) -> ModuleRequest:
    function = image.symbols.at(base + at)
    start = at if function is None else function.address - base
    stop = at if function is None else start + image.symbols.size_at(function.address)
    name = "" if function is None else function.name
    text, is_call = partial(_text, image, code, base), partial(_is_call, image, code, base)
    formats = formats_of_call(code, range(max(start, 0), stop), at, text, is_call)
    return ModuleRequest(formats, name, "vmlinux")


def _text(image: KernelImage, code: bytes, base: int, at: int, is_relative: bool) -> str | None:  # noqa: FBT001 - the decoder's answer
    address = _signed(code, at) + (base + at + OPERAND if is_relative else 0) & MASK64
    for size in (256, 32, 8):  # shorter at the end of a segment
        try:
            return format_text(image.read(address, size))
        except FormatError:
            continue
    return None


def _is_call(image: KernelImage, code: bytes, base: int, at: int) -> bool:
    """Tell whether the bytes at an offset are a call: they lead to the entry of a function."""
    if code[at] != 0xE8:
        return False
    target = base + at + _SIZE + _signed(code, at + 1) & MASK64
    found = image.symbols.at(target)
    return found is not None and found.address == target


def _signed(code: bytes, at: int) -> int:
    return int.from_bytes(code[at : at + OPERAND], "little", signed=True)
