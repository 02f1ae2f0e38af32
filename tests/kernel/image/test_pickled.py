"""A snapshot's pickle can name the emulated machine's parts and nothing else, whoever has written it."""

from __future__ import annotations

import ast
import pickle
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path

import pytest

import ukmod
from ukmod.kernel.image import pickled

SOURCES = Path(ukmod.__file__).parent
HARMLESS = {"strerror", "fspath", "fsencode", "fsdecode", "stat_result", "PathLike", "cpu_count", "__file__"}
"""What modules of the machine may use of os."""


def read(pickle_: bytes) -> object:
    return pickled._Reader(BytesIO(pickle_), {}).load()


def calling(module: str, name: str, argument: str) -> bytes:
    """A pickle that calls a function when it is read."""
    return f"c{module}\n{name}\n(S'{argument}'\ntR.".encode()


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("os", "system"),
        ("posix", "system"),
        ("builtins", "eval"),
        ("builtins", "exec"),
        ("builtins", "getattr"),
        ("builtins", "open"),
        ("builtins", "__import__"),
        ("subprocess", "Popen"),
        ("operator", "attrgetter"),
        ("ukmod.kmod.linux", "LinuxHost"),
        ("ukmod.kernel.api", "Kernel"),
        ("ukmod.kernel.image.snapshot", "load"),
        ("ukmod.kernel.image.snapshot", "os.system"),
        ("ukmod.machine.image.cache", "Cache"),
        ("ukmod.machine.image.image", "KernelImage"),
        ("ukmod.machine.memory", "mmap"),
        ("ukmod.machine.memory", "mmap.mmap"),
        ("ukmod.kernel.procfs", "os"),
        ("ukmod.survey.survey", "survey"),
    ],
)
def test_nothing_outside_the_machine_can_be_named(module: str, name: str) -> None:
    with pytest.raises(pickle.UnpicklingError, match="may not name"):
        read(calling(module, name, "touch /tmp/executed"))


@pytest.mark.parametrize("name", ["__class__", "__init_subclass__", "no_such_method", "format"])
def test_only_methods_of_the_machines_objects_are_bound(name: str) -> None:
    with pytest.raises(pickle.UnpicklingError, match="is not a method of the emulated machine"):
        pickled._method("text", name)
    with pytest.raises(pickle.UnpicklingError, match="is not a method of the emulated machine"):
        pickled._method([], "__class__")


def modules() -> list[str]:
    """Every module of the machine that a pickle may name."""
    paths = [path for package in ("kernel", "machine") for path in (SOURCES / package).rglob("*.py")]
    names = [".".join(("ukmod", *path.relative_to(SOURCES).with_suffix("").parts)) for path in paths]
    return [name for name in names if pickled.is_allowed(name, "anything")]


@pytest.mark.parametrize("module", modules())
def test_no_module_that_can_be_named_deals_with_the_host(module: str) -> None:
    """Such a module belongs into HOST_SIDE. The one that maps the guest's RAM is passed an open file."""
    spec = find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    nodes = list(ast.walk(ast.parse(Path(spec.origin).read_text())))
    imported = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    assert not imported & {"subprocess", "socket", "shutil", "pathlib", "tempfile", "importlib", "pickle"}
    names = [node for node in nodes if isinstance(node, ast.Name)]
    assert not {"eval", "exec", "compile", "__import__"} & {node.id for node in names}
    calls = [node.func for node in nodes if isinstance(node, ast.Call)]
    assert not [called for called in calls if isinstance(called, ast.Name) and called.id == "open"]
    attributes = [node for node in nodes if isinstance(node, ast.Attribute)]
    of_os = [it for it in attributes if isinstance(it.value, ast.Name) and it.value.id == "os"]
    assert {it.attr for it in of_os} <= HARMLESS
