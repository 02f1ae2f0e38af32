"""Dumps in the log: the image's print_hex_dump() and the one in Python."""

from __future__ import annotations

import random

import pytest
from tests.kernel.image.computing import Image, Run

pytestmark = pytest.mark.real


def test_print_hex_dump(run: Run) -> None:
    """Lines of the log are the same, and their levels."""

    def dump(image: Image) -> list[list[list[object]]]:
        dice, logged = random.Random(1), list[list[object]]()
        image.k.on_record(lambda record: logged.append([record.level, record.text]))
        ours, found = image.k.core.symbols.address("print_hex_dump"), []
        for _ in range(50):
            prefix, data = image.put(dice.choice([b"\0", b"x: \0"])), image.put(dice.randbytes(80))
            rows = dice.choice([0, 16, 32]), dice.choice([1, 2, 3, 4, 8])
            where = dice.choice([0, 2])  # DUMP_PREFIX_NONE and _OFFSET: addresses are hashed with another key
            more = prefix, where, *rows, data, dice.randrange(81), dice.randrange(2)
            for function in (image.native("print_hex_dump"), ours):
                logged.clear()
                image.k.call(function, image.put(b"\x016\0"), *more, returns=None)
                found.append([*logged])
        return found

    lines = run(dump)
    assert lines[::2] == lines[1::2]
    assert sum(map(len, lines)) > 100
