"""Work items for the tests of workqueues."""

from __future__ import annotations

import pytest
from tests.kernel.conftest import Guest
from tests.kernel.workqueue.works import Works


@pytest.fixture
def works(guest: Guest) -> Works:
    """Work items, and calls of the functions that queue them."""
    return Works(guest)
