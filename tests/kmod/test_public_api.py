"""What users may import."""

from __future__ import annotations

import inspect
import pkgutil
import subprocess
import sys
import typing
from collections.abc import Iterator
from pathlib import Path

import pytest

import ukmod
from ukmod import kmod


@pytest.mark.parametrize("name", kmod.__all__)
def test_every_public_name_is_there_and_documented(name: str) -> None:
    value = getattr(kmod, name)
    assert value.__doc__
    assert value.__name__.rpartition(".")[2] == name


def types_in(annotation: object) -> Iterator[type]:
    """The classes of ukmod in an annotation."""
    if isinstance(annotation, type) and annotation.__module__.startswith("ukmod"):
        yield annotation
    for part in typing.get_args(annotation):
        for one in part if isinstance(part, list) else [part]:
            yield from types_in(one)


def signatures(owner: object) -> Iterator[object]:
    """The public functions, methods and properties of a class, or a function itself."""
    if inspect.isfunction(owner):
        yield owner
    if not isinstance(owner, type):
        return
    for name, member in vars(owner).items():
        if not name.startswith("_") or name == "__init__":
            function = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
            if inspect.isfunction(function):
                yield function


INTERFACES = {
    "ukmod": [ukmod.Kernel],
    "ukmod.kmod": [getattr(kmod, name) for name in kmod.__all__],
}


@pytest.mark.parametrize("package", INTERFACES)
def test_every_type_that_a_public_function_takes_or_returns_can_be_imported(package: str) -> None:
    public = [getattr(ukmod, name) for name in ukmod.__all__] + [getattr(kmod, name) for name in kmod.__all__]
    missing = set()
    for owner in INTERFACES[package]:
        for function in signatures(owner):
            try:
                hints = typing.get_type_hints(function)
            except NameError:  # names that only type checkers import
                continue
            missing |= {
                kind.__qualname__ for hint in hints.values() for kind in types_in(hint) if kind not in public
            }
    assert missing == set()


def test_type_checkers_know_a_misspelt_name(tmp_path: Path) -> None:
    """tests/typing/user.py is a user's program; one letter less is an error."""
    program = (Path(__file__).parents[1] / "typing" / "user.py").read_text()
    good, bad = tmp_path / "good.py", tmp_path / "bad.py"
    good.write_text(program)
    bad.write_text(program.replace("ukmod.Kernel(", "ukmod.Kernl("))
    api = pytest.importorskip("mypy.api", reason="make lint installs mypy")
    cache = ["--cache-dir", str(tmp_path / "cache")]
    said, _, status = api.run(["--strict", *cache, str(good)])
    assert status == 0, said
    said, _, status = api.run(["--strict", *cache, str(bad)])
    assert status == 1
    assert 'Module has no attribute "Kernl"' in said


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
    """As the kernel starts it: each of the list costs it a millisecond or more, a twentieth of its time."""
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
    heavy = {
        *("argparse", "collections", "contextlib", "ctypes", "dataclasses", "enum", "functools", "importlib"),
        *("inspect", "json", "pathlib", "re", "typing"),
    }
    assert heavy & set(result.stdout.split()) == set()
