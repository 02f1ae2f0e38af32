"""A Debian kernel that was brought up once, for tests that ask it things and for those that fork from it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.real import debian

from ukmod.kernel.api import Kernel, open_tree


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
