"""Which of the functions that the kernel exports do the tests call, as a module would, without an image?

Each test process notes the functions whose stubs guest code ran into. When a session has run all of
tests/kernel, it fails if they are too few: a function that no test calls may do anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from ukmod.kernel.export import Export
from ukmod.kernel.exports import kernel_functions
from ukmod.kernel.module.symbols import FoundSymbol, SymbolTable

HERE: Final = Path(__file__).resolve().parent
LEAST: Final = 97
"""Per cent of the exported functions that must have been called."""


@contextmanager
def noted(called: set[str]) -> Iterator[None]:
    """Within this, add to ``called`` each exported function that runs in a kernel without an image."""
    add_function = SymbolTable.add_function

    def noting(self: SymbolTable, exported: Export, function: Any, *, kernel: bool = True) -> FoundSymbol:
        symbol = add_function(self, exported, function, kernel=kernel)
        if self._k.image is None and kernel and exported.name not in called:
            handler = self._bind(function, kernel=kernel)

            def first(frame: memoryview) -> int:
                called.add(exported.name)
                self._k.cpu.stubs.set_function(symbol.address, handler)
                return handler(frame)

            self._k.cpu.stubs.set_function(symbol.address, first)
        return symbol

    SymbolTable.add_function = noting  # type: ignore[method-assign]
    yield
    SymbolTable.add_function = add_function  # type: ignore[method-assign]


class ExportedCalls:
    """A plugin of pytest: what all processes of a session have called."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._called: set[str] = set()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self) -> Iterator[Any]:
        with noted(self._called):
            return (yield)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """A worker of pytest-xdist has ended."""
        self._called |= set(getattr(node, "workeroutput", {}).get("exported_calls", ()))

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        if hasattr(self._config, "workeroutput"):
            self._config.workeroutput["exported_calls"] = sorted(self._called)
        elif exitstatus == pytest.ExitCode.OK and self._whole() and self._share() < LEAST:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Say how many were called; name the others if they are too many, or with -v."""
        if not self._whole():
            return
        functions, share = kernel_functions(), self._share()
        line = f"{share:.1f} % of {len(functions)} exported functions were called without an image"
        terminalreporter.write_line(f"{line}; the floor is {LEAST} %", red=share < LEAST)
        if share < LEAST or self._config.option.verbose > 0:
            uncalled = sorted(
                (functions[name][1].__module__, name) for name in functions.keys() - self._called
            )
            for module, name in uncalled:
                terminalreporter.write_line(f"  {module}: no test calls {name}")

    def _share(self) -> float:
        functions = kernel_functions()
        return 100 * len(functions.keys() & self._called) / len(functions)

    def _whole(self) -> bool:
        """Does this session run all of tests/kernel, apart from the comparisons with a real kernel?"""
        option = self._config.option
        paths = {Path(word).resolve() for word in self._config.args}
        selected = (
            option.keyword
            or getattr(option, "lf", False)
            or option.maxfail
            or option.markexpr not in ("", "not real")
        )
        return bool(paths & {HERE, *HERE.parents[:2]}) and not selected
