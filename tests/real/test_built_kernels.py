"""Kernels built with other options than distributions choose, where ``make built-kernels`` has built them."""

from __future__ import annotations

import pytest
from tests.real import built

from ukmod.machine.image.image import KernelImage
from ukmod.machine.types.select import types_for

pytestmark = [pytest.mark.real, pytest.mark.kernels, pytest.mark.slow]


def test_a_kernel_without_btf_has_the_types_of_a_vmlinux_beside_it() -> None:
    image = KernelImage(str(built.require("no-btf").vmlinuz))
    assert not image.has_btf
    types = types_for((), kernel=image)
    assert types.offset("list_head", "prev") == 8
    assert types.has("task_struct", "comm")
    prototype = types.prototype("kthread_stop")
    assert str(prototype) == "int kthread_stop(struct task_struct *)"
