"""Execution of GRUB's scripts: the kernels that they start, with each possible command line.

The whole script runs before the menu is shown, so an entry sees the variables as they are at its end. A
variable has all its possible values: if a condition is not known before the machine starts, both branches
are taken.
"""

from __future__ import annotations

import os
import re

from ukmod.kmod.bootfiles import BOOT_DIRECTORIES, text_of
from ukmod.kmod.grub.syntax import Conditional, ScriptCommand, ScriptFunction, parse
from ukmod.kmod.grub.variables import (
    MOST_WAYS,
    ScriptVariables,
    environment_block,
    is_unknown,
    loader_text,
    readings_of,
)
from ukmod.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ukmod.kmod.grub.syntax import ScriptLoop, ScriptNode
    from ukmod.kmod.host import Files

__all__ = ["Start", "execute"]

_LINUX = frozenset(("linux", "linux16", "linuxefi"))
_XEN = frozenset(("module", "module2", "xen_module"))
_NEGATED = {True: False, False: True, None: None}
_MOST_COMMANDS = 20_000
_MOST_NESTED = 20


@record
class Start:
    """A kernel that is started: its path, the command line that GRUB hands it, and the command's line."""

    kernel: str
    text: str
    line: int


def execute(files: Files, root: str, path: str) -> tuple[list[Start], list[ScriptVariables]]:
    """Run a configuration file of a root; return what it may start, and the variables at each ``blscfg``."""
    path = path.removeprefix(root)
    directory = os.path.dirname(path)
    given: dict[str, tuple[str, ...]] = {
        "prefix": (directory,),
        "config_directory": (directory,),
        "config_file": (path,),
    }
    run = _Execution(files, root)
    run.menu(run.script(path), ScriptVariables(given))
    return list(dict.fromkeys(run.starts)), run.loader_entries


class _Execution:
    """The state of a run: what has been found, the functions, and the entries that the menu will have."""

    def __init__(self, files: Files, root: str) -> None:
        self.starts: list[Start] = []
        self.loader_entries: list[ScriptVariables] = []
        self._files = files
        self._root = root
        self._scripts: dict[str, tuple[ScriptNode, ...]] = {}
        self._functions: dict[str, tuple[ScriptNode, ...]] = {}
        self._entries: list[ScriptCommand] = []
        self._left = _MOST_COMMANDS
        self._depth = 0

    def script(self, path: str) -> tuple[ScriptNode, ...]:
        """Return the commands of a file; none if it is not there."""
        if path not in self._scripts:
            self._scripts[path] = parse(text_of(self._files, self._place(path)))
        return self._scripts[path]

    def _place(self, path: str) -> str:
        """Return where a path of GRUB's lies: its partition may be the root's or one of those for booting."""
        path = re.sub(r"^\([^)]*\)", "", path)
        places = [f"{self._root}{partition}{path}" for partition in ("", *BOOT_DIRECTORIES)]
        return next((one for one in places if self._size(one) is not None), places[0])

    def _size(self, path: str) -> int | None:
        try:
            return self._files.stat(path).st_size
        except OSError:
            return None

    def menu(self, nodes: Iterable[ScriptNode], variables: ScriptVariables) -> None:
        """Run a script, and then each of the entries that it has put into the menu."""
        outer, self._entries = self._entries, []
        self._run(nodes, variables)
        entries, self._entries = self._entries, outer
        for entry in entries:
            block = entry.block or ()
            if entry.words[0][0].text == "submenu":
                self.menu(block, variables.in_submenu())
            else:
                self._run(block, variables.copy())

    def _run(self, nodes: Iterable[ScriptNode], variables: ScriptVariables) -> bool | None:
        """Run commands; return whether the last one succeeds, None if that is not known."""
        status: bool | None = True
        self._depth += 1
        for node in nodes if self._depth <= _MOST_NESTED else ():
            self._left -= 1
            if self._left < 0:
                break
            if isinstance(node, ScriptCommand):
                status = self._command(node, variables)
            elif isinstance(node, ScriptFunction):
                self._functions[node.name] = node.body
            elif isinstance(node, Conditional):
                status = self._if(node.branches, variables)
            else:
                self._loop(node, variables)
                status = None
        self._depth -= 1
        return status

    def _if(
        self,
        branches: Sequence[tuple[Sequence[ScriptNode], Sequence[ScriptNode]]],
        variables: ScriptVariables,
    ) -> bool | None:
        if not branches:
            return True
        condition, body = branches[0]
        holds = self._run(condition, variables)
        if holds is not None:
            return self._run(body, variables) if holds else self._if(branches[1:], variables)
        otherwise = variables.copy()
        statuses = {self._run(body, variables), self._if(branches[1:], otherwise)}
        variables.become_one_of((variables, otherwise))
        return statuses.pop() if len(statuses) == 1 else None

    def _loop(self, loop: ScriptLoop, variables: ScriptVariables) -> None:
        """Run a loop for each of its words; if they or their number are not known, never and once."""
        readings = readings_of(loop.words, variables)
        if loop.name and len(readings) == 1:
            for word in readings[0]:
                variables.values[loop.name] = (word,)
                self._run(loop.body, variables)
            return
        never = variables.copy()
        if loop.name:
            words = [word for one in readings for word in one]
            variables.values[loop.name] = tuple(dict.fromkeys(words))[:MOST_WAYS] or ("",)
        self._run(loop.condition, variables)
        self._run(loop.body, variables)
        variables.become_one_of((variables, never))

    def _command(self, command: ScriptCommand, variables: ScriptVariables) -> bool | None:
        readings = [words for words in readings_of(command.words, variables) if words]
        names = {words[0] for words in readings}
        if command.block is not None and names <= {"menuentry", "submenu"}:
            self._entries.append(command)
            return True
        if len(names) != 1:
            return None
        name = names.pop()
        arguments = [words[1:] for words in readings]
        if name in {"[", "test", "true", "false", "!"}:
            is_known = not any(is_unknown(word, variables) for word in command.words)
            statuses = {self._holds(words) for words in readings} if is_known else {None}
            return statuses.pop() if len(statuses) == 1 else None
        if name in _LINUX:
            self._start(arguments, command.line)
        elif name in _XEN:
            self._start([words for words in arguments if _is_kernel(words)], command.line)
        elif name == "blscfg":
            self.loader_entries.append(variables.copy())
        elif name in {"source", "."}:
            for path in dict.fromkeys(words[0] for words in arguments if words):
                self._run(self.script(path), variables)
        elif name == "load_env":
            self._load_environment(arguments, variables)
        elif name in self._functions:
            return self._call(name, arguments, variables)
        else:
            _change(name, arguments, variables)
        return True if name in {"set", "export", "unset", "echo"} else None

    def _start(self, arguments: Iterable[Sequence[str]], line: int) -> None:
        self.starts += [Start(words[0], loader_text(words[1:]), line) for words in arguments if words]

    def _call(self, name: str, arguments: Sequence[Sequence[str]], variables: ScriptVariables) -> bool | None:
        for number in range(1, 1 + max(map(len, arguments))):
            values = (words[number - 1] if len(words) >= number else "" for words in arguments)
            variables.values[str(number)] = tuple(dict.fromkeys(values))
        return self._run(self._functions[name], variables)

    def _load_environment(self, arguments: Iterable[Sequence[str]], variables: ScriptVariables) -> None:
        """Read an environment block: all of it, or the variables that are named."""
        for words in arguments:
            path, names = f"{variables.of('prefix')[0]}/grubenv", []
            rest = iter(words)
            for word in rest:
                if word in {"-f", "--file"}:
                    path = next(rest, "")
                elif word.startswith("--file="):
                    path = word.partition("=")[2]
                elif not word.startswith("-"):
                    names.append(word)
            block = environment_block(self._files, self._place(path))
            variables.values |= {
                name: (value,) for name, value in block.items() if not names or name in names
            }

    def _holds(self, words: Sequence[str]) -> bool | None:
        """Tell whether a test succeeds; None if that is not known before the machine starts."""
        match words:
            case ["true" | "false" as word]:
                return word == "true"
            case ["!", *rest]:
                return _NEGATED[self._holds(rest)]
            case ["[", *rest, "]"] | ["test", *rest]:
                return self._test(rest)
        return None

    def _test(self, words: Sequence[str]) -> bool | None:
        for joiner, decisive in (("-o", True), ("-a", False)):
            if joiner in words:
                at = words.index(joiner)
                both = self._test(words[:at]), self._test(words[at + 1 :])
                return decisive if decisive in both else None if None in both else not decisive
        match words:
            case [] | ["-n", ""] | [""]:
                return False
            case [left, "=" | "==", right]:
                return left == right
            case [left, "!=", right]:
                return left != right
            case ["-z", word]:
                return not word
            case ["-e" | "-f" | "-s" as kind, path] if path.startswith("/boot/"):
                size = self._size(self._place(path))
                return bool(size) if kind == "-s" else size is not None
            case ["!", *rest]:
                return _NEGATED[self._test(rest)]
            case ["-n", _] | [_]:
                return True
        return None


def _change(name: str, arguments: Sequence[Sequence[str]], variables: ScriptVariables) -> None:
    """Do what a command does to variables; a word with ``=`` that is no command is an assignment."""
    words = tuple(dict.fromkeys(word for one in arguments for word in one))
    if name == "export":
        variables.exported |= {word.partition("=")[0] for word in words}
    elif name == "unset":
        for word in words:
            variables.values.pop(word, None)
    if name not in {"set", "export"}:
        words = (name,) if "=" in name else ()
    changed: dict[str, list[str]] = {}
    for word in words:
        if "=" in word:
            changed.setdefault(word.partition("=")[0], []).append(word.partition("=")[2])
    variables.values |= {name: tuple(values) for name, values in changed.items()}


def _is_kernel(words: Sequence[str]) -> bool:
    """True for the command line of a kernel that Xen starts: others are initramfs files and policies."""
    return bool(words) and re.match(r"(vmlinu|bzImage|linux|kernel)", words[0].rpartition("/")[2]) is not None
