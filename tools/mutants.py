"""Mutation testing: change a file in one place at a time, and see whether its tests notice.

    python tools/mutants.py src/ukmod/kernel/umh.py [TEST ...]

mutmut makes the changes, in a copy of the working tree below .cache. A test is a file, a directory or
one test's name; the default is the file below tests/ that has the same place and name. Each change that no
test notices is printed as a diff. It asks for a test, for simpler code, or for a reason why it changes
nothing. mutmut changes the bodies of functions and methods; constants, properties and class methods stay as
they are. Comparisons with the real thing and tests with made-up input take no part.
"""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COPY = ROOT / ".cache" / "mutants"
CAUGHT = {"killed", "timeout"}


def main(file: str, *tests: str) -> None:
    """Test the mutants of one file; print those that survive, and how many there were."""
    selection = list(tests) or [_own_test(file)]
    if missing := [test for test in selection if not (ROOT / test.partition("::")[0]).exists()]:
        sys.exit(f"{missing[0]}: no such test; name the tests of {file}: make mutants FILE=... TESTS=...")
    _copy()
    _split_decorated(COPY / file)
    with (COPY / "pyproject.toml").open("a") as project:
        project.write(_settings(file, selection))
    _mutmut("run", "--max-children", "1")
    results = [line.split(": ") for line in _mutmut("results", "--all", "true").splitlines() if ": " in line]
    survivors = [name.strip() for name, outcome in results if outcome not in CAUGHT]
    for name in survivors:
        print(_mutmut("show", name))
    print(f"{file}: {len(results)} mutants, {len(survivors)} of them unnoticed")


def _own_test(file: str) -> str:
    path = Path(file)
    return str(Path("tests", *path.parts[2:-1], f"test_{path.name}"))


def _copy() -> None:
    shutil.rmtree(COPY, ignore_errors=True)
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.check_output(listing, cwd=ROOT, text=True).splitlines():
        if (ROOT / name).is_file():
            (COPY / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, COPY / name)


def _split_decorated(file: Path) -> None:
    """Move the body of each decorated function into one of its own: mutmut passes over decorated ones."""
    text = file.read_text()
    lines = text.splitlines()
    for function in reversed(ast.parse(text).body):
        if isinstance(function, ast.FunctionDef) and function.decorator_list:
            name, parameters = function.name, function.args
            start, body, end = function.lineno - 1, function.body[0].lineno - 1, function.end_lineno
            passed = [p.arg for p in (*parameters.posonlyargs, *parameters.args)]
            passed += [f"{p.arg}={p.arg}" for p in parameters.kwonlyargs]
            own = [lines[start].replace(f"def {name}(", f"def {name}_body(", 1), *lines[start + 1 : end]]
            lines[body:end] = [f"    return {name}_body({', '.join(passed)})", "", "", *own]
    file.write_text("\n".join(lines) + "\n")


def _settings(file: str, tests: list[str]) -> str:
    return f"""
[tool.mutmut]
source_paths = ["src/ukmod"]
only_mutate = ["{file}"]
also_copy = ["src", "examples", "docs", "share", "tools", "README.md"]
pytest_add_cli_args = ["-m", "not real and not fuzz", "-p", "no:randomly"]
pytest_add_cli_args_test_selection = {tests}
"""


def _mutmut(*arguments: str) -> str:
    """Run mutmut in the copy; what it prints of its progress goes to the terminal."""
    shown = None if arguments[0] == "run" else subprocess.PIPE
    command = [sys.executable, "-m", "mutmut", *arguments]
    done = subprocess.run(command, cwd=COPY, stdout=shown, text=True, check=False)
    if done.returncode:
        sys.exit(done.returncode)
    return done.stdout or ""


if __name__ == "__main__":
    main(*sys.argv[1:])
