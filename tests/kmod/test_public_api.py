"""What users may import."""

from __future__ import annotations

import pkgutil
import subprocess
import sys

import pytest

import ukmod
from ukmod import kmod


@pytest.mark.parametrize("name", kmod.__all__)
def test_every_public_name_is_there_and_documented(name: str) -> None:
    value = getattr(kmod, name)
    assert value.__doc__
    assert value.__name__.rpartition(".")[2] == name


def test_names_are_sorted_and_complete() -> None:
    assert kmod.__all__ == sorted(kmod.__all__)
    assert dir(kmod) == kmod.__all__
    assert dir(ukmod) == sorted(ukmod.__all__)


def test_no_name_is_a_submodule_s() -> None:
    modules = {info.name for info in pkgutil.iter_modules(kmod.__path__)}
    assert modules & set(kmod.__all__) == {"depmod"}, "and depmod can be called, whichever it is"


@pytest.mark.parametrize("package", [ukmod, kmod])
def test_a_name_outside_the_public_api_is_an_attribute_error(package: object) -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        package.nonsense  # type: ignore[attr-defined]  # noqa: B018


def test_modprobe_imports_nothing_heavy() -> None:
    """As the kernel starts it: the list is of what each cost a fifth of its time when this was measured."""
    program = (
        "import sys; before = set(sys.modules); from ukmod.cli import main; "
        "main(['modprobe', '-q', '-n', '--', 'no-such-module']); print(*set(sys.modules) - before)"
    )
    result = subprocess.run(
        [sys.executable, "-S", "-c", program],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": ":".join(sys.path)},
        check=True,
    )
    heavy = {"argparse", "ctypes", "dataclasses", "enum", "inspect", "json", "pathlib", "re", "typing"}
    assert heavy & set(result.stdout.split()) == set()
