"""A Debian kernel that was brought up once, for tests that ask it things and for those that fork from it."""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.kernel.image.computing import Image, Run
from tests.real import debian

from ukmod.kernel.api import Kernel
from ukmod.kernel.trees import open_tree


@pytest.fixture(scope="session")
def kernel_package() -> debian.Debian:
    """The unpacked package: image and modules."""
    return debian.require()


@pytest.fixture(scope="session")
def booted(kernel_package: debian.Debian) -> Iterator[Kernel]:
    """A kernel with its image up and its own modules at hand. What changes it does so in a fork."""
    with Kernel(tree=open_tree(kernel_package.modules), image=kernel_package.vmlinuz) as k:
        k.boot()
        yield k


def in_a_copy(k: Kernel, work: Callable[[], Any]) -> Any:
    """What ``work`` returns, as JSON can say it, in a copy of the machine: the original stays as it is."""
    reader, writer = os.pipe()
    if (pid := os.fork()) == 0:
        try:
            k.core.cpu.after_fork()
            answer = json.dumps([work(), None])
        except BaseException:  # noqa: BLE001 - it is told to the original
            answer = json.dumps([None, traceback.format_exc()])
        try:
            os.close(reader)
            with os.fdopen(writer, "w") as file:
                file.write(answer)
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as file:
        data = file.read()
    os.waitpid(pid, 0)
    result, error = json.loads(data)
    assert error is None, error
    return result


@pytest.fixture
def run(booted: Kernel) -> Run:
    """Runs something in a copy of the machine."""
    return lambda work: in_a_copy(booted, lambda: work(Image(booted)))
