"""The preemption model of an image, which can be chosen at boot: CONFIG_PREEMPT_DYNAMIC.

preempt_dynamic_init() is part of sched_init(), which does not run: the scheduler is Python's. The model that
the image was built with is the constant that its code passes to sched_dynamic_update().
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ukmod.kernel.core import Core
    from ukmod.kernel.image.map import MappedImage

_CALL: Final = re.compile(rb"\xbf(?=(.{4})\xe8(.{4}))", re.DOTALL)
"""mov $model, %edi; call target."""
_CALL_SIZE: Final = 10
_NONE: Final = 0


def default_model(k: Core, image: MappedImage) -> int:
    """The value of preempt_dynamic_mode without ``preempt=``; preempt_dynamic_none if code does not tell."""
    init, update = image.get("sched_init"), image.get("sched_dynamic_update")
    if init is None or update is None:
        return _NONE
    for found in _CALL.finditer(k.memory.read(init, image.symbols.size_at(init))):
        model, offset = (int.from_bytes(part, "little", signed=True) for part in found.groups())
        if init + found.start() + _CALL_SIZE + offset == update:
            return model
    return _NONE


def model_name(k: Core, image: MappedImage) -> str:
    """The words of preempt_model_str() (since v6.15), which end the task's line of a report; "" before."""
    function = image.get("preempt_model_str")
    return "" if function is None else k.memory.cstring(k.cpu.call(function)).decode()
