"""The tests of the kernel's own that Debian ships as modules: their verdicts."""

from __future__ import annotations

import re

import pytest
from tests.kernel.image.computing import Image, Run

pytestmark = pytest.mark.real


def load(image: Image, *arguments: str) -> list[str]:
    """What loading a module adds to the log, without the times."""
    before = len(image.k.dmesg().splitlines())
    finished = image.k.modprobe(*arguments)
    assert finished.status == 0, finished.output
    return [re.sub(r"^\[[^]]*\] ", "", line) for line in image.k.dmesg().splitlines()[before:]]


@pytest.mark.parametrize(("first", "last"), [(0, 520), (521, 690)])
def test_bpf(run: Run, first: int, last: int) -> None:
    """BPF programs, nearly all of them translated to machine code by the image."""
    lines = run(lambda image: load(image, "test_bpf", "test_suite=test_bpf", f"test_range={first},{last}"))
    count = last - first + 1
    found = re.fullmatch(r"test_bpf: Summary: (\d+) PASSED, 0 FAILED, \[(\d+)/(\d+) JIT'ed\]", lines[-1])
    assert found is not None, lines[-1]
    assert int(found[1]) == count
    assert int(found[2]) == int(found[3]) > 0.9 * count
    assert [line for line in lines if "FAIL" in line] == [lines[-1]]


def test_bpf_segments(run: Run) -> None:
    lines = run(lambda image: load(image, "test_bpf", "test_suite=test_skb_segment"))
    assert lines[-1] == "test_bpf: test_skb_segment: Summary: 2 PASSED, 0 FAILED"


def test_static_keys(run: Run) -> None:
    """Branches that are patched in running code; the module fails to load if one went the wrong way."""
    assert run(lambda image: [load(image, "test_static_keys"), "test_static_keys" in image.k.modules]) == [
        [],
        True,
    ]
