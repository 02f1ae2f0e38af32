"""Names that are commands to a terminal, a page, a drawing or a reader of lines, in each output with names.

A file's name may hold any byte but / and NUL, and a module says any text about itself. Here modules, aliases,
parameters, symbols, files of configuration and boot entries have such names.
"""

from __future__ import annotations

import io
import json
import re
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from tests.cli.hostile import call
from tests.elfwriter import module
from tests.golden import modules
from tests.kmod.depmod.trees import RELEASE
from tests.pages import whole

NAMES = {
    "an escape sequence": "\x1b[2J\x1b]0;t\x07",
    "a control character of 8 bits": "\x9b31m\x85",
    "a direction": "\u202ea\u2066b\u2028",
    "a newline": "\n::error::forged\nforged: yes",
    "a carriage return": "\rforged",
    "HTML": "\"><img src onerror><!--'",
    "XML": "]]>&amp;\x0b\ufffe",
    "Mermaid": '"]; click A callback; %%{init: {}}%%; x["',
    "DOT": '\\"]; forged -> b; \\',
    "bytes that are no text": "\udcff\udcc3",
    "a line of configuration": "\ninstall forged run\n",
}
OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""What no output has, whatever its format."""
FORGED = re.compile("(::error|forged|install forged)")
"""How a line begins that a name has made."""
AT = ["-d", ".", "-S", RELEASE]
COMMANDS = {
    "text": (
        *(["explain", *AT, "n"], ["explain", *AT, "NAME"], ["explain", *AT, "FILE"]),
        *(["explain", *AT, "--cmdline", "module_blacklist=NAME", "n"], ["audit", *AT], ["audit", *AT, "n"]),
        *(["audit", "block", *AT, "n", "NAME"], ["audit", "surface", *AT, "--kernel", "none"]),
        *(["policy", "generate", *AT, "--keep", "keep"], ["policy", "check", *AT, "--keep", "keep"]),
        *(["closure", *AT, "NAME"], ["closure", *AT, "n", "--why", "NAME"], ["fits", *AT, "--all", "FILE"]),
        *(["closure", *AT, "--format", "manifest", "NAME"], ["graph", *AT, "n", "NAME"]),
        *(["graph", *AT, "--format", "mermaid", "n", "NAME"], ["run", "--kernel", "none", "FILE", "p=NAME"]),
        *(["run", "--for", "0", "--kernel", "none", "REAL.ko", "name=NAME"], ["kernel", "headers", "NAME"]),
        *(["survey", *AT, "--kernel", "none", "NAME"], ["examples", "NAME"], ["explain", "--NAME", "n"]),
        *(["profile", "NAME", "-o", "NAME"], ["run", "--kernel", "NAME", "FILE"], ["NAME"]),
        ["lint", *AT, "--notes"],
    ),
    "json": (
        *(["explain", *AT, "n", "NAME", "--json"], ["lint", *AT, "--json"], ["audit", *AT, "--json"]),
        *(["audit", "block", *AT, "n", "--json"], ["audit", *AT, "--sarif"], ["closure", *AT, "n", "--json"]),
        *(["policy", "check", *AT, "--keep", "keep", "--sarif"], ["graph", *AT, "n", "NAME", "--json"]),
        *(["fits", *AT, "FILE", "--json"], ["run", "--for", "0", "--kernel", "none", "REAL.ko", "--json"]),
    ),
    "XML": (["audit", *AT, "--junit"], ["policy", "check", *AT, "--keep", "keep", "--junit"]),
    "HTML": (["audit", *AT, "--html"], ["graph", *AT, "--format", "html", "n", "NAME"]),
}  # fmt: skip


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A name that is in all files of the working directory's root; a compiled module has it, too."""
    text = NAMES[request.param]
    in_a_line = text.replace("\n", " ")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    fields = [
        f"author={text}",
        f"alias=a:{text}*",
        f"firmware={text}",
        f"softdep=pre: {text}",
        f"parm=p{text}:x",
    ]
    configuration = "alias q{0} {0}\ninstall n echo {0}\noptions n {0}\nblacklist b{0}\nno_command {0}\n"
    boot_entry = f"linux /vmlinuz-{RELEASE}\noptions module_blacklist={in_a_line} x\n"
    files: dict[str, str | bytes] = {
        f"lib/modules/{RELEASE}/kernel/m{text}.ko": module(f"m{text}", *fields, exports=[f"s{text}"]),
        f"lib/modules/{RELEASE}/kernel/n.ko": module("n", *fields, f"depends=m{text}", needs=[f"s{text}"]),
        f"lib/modules/{RELEASE}/modules.builtin.modinfo": f"b.alias=x{text}\0b.parm={text}:x\0",
        f"etc/modprobe.d/c{text}.conf": configuration.format(in_a_line),
        f"boot/vmlinuz-{RELEASE}": b"",
        f"boot/loader/entries/e{text}.conf": boot_entry,
        "keep": f"n\n{in_a_line}\n",
        f"R{text}.ko": modules()["rm_call"].read_bytes(),
    }
    for path, content in files.items():
        place = tmp_path / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content)
    run(["depmod", "-b", ".", RELEASE])
    return text


def run(words: list[str]) -> tuple[bytes, bytes]:
    """What a command writes to its two streams."""
    streams = [io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2)]
    kept = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = streams
    try:
        call(words)
    finally:
        sys.stdout, sys.stderr = kept
    out, err = (stream.buffer.getvalue() for stream in streams)
    return out, err


def assert_shown(data: bytes, kind: str = "text") -> None:
    """Fail for an output that somebody would obey, or that is not of its kind."""
    text = data.decode()
    assert "Traceback" not in text
    assert not OBEYED.search(text)
    match kind:
        case "json" if text:
            json.loads(text)
        case "XML" if text:
            ET.fromstring(text)
        case "HTML" if text:
            whole(text)
        case _:
            assert not [line for line in text.split("\n") if FORGED.match(line)]


@pytest.mark.parametrize("kind", COMMANDS)
def test_names_are_shown_not_obeyed(name: str, kind: str) -> None:
    file = f"lib/modules/{RELEASE}/kernel/m{name}.ko"
    named = {"NAME": name, "FILE": file, "REAL.ko": f"R{name}.ko"}
    for command in COMMANDS[kind]:
        out, err = run([re.sub("NAME|FILE|REAL.ko", lambda word: named[word[0]], words) for words in command])
        assert_shown(out, kind)
        assert_shown(err)


@pytest.mark.parametrize("kind", ["HTML", "mmd", "json", "txt"])
def test_names_in_a_trace_are_shown_not_obeyed(name: str, kind: str) -> None:
    param = "name=" + name.replace('"', "'")
    run(["run", "--for", "0", "--kernel", "none", f"R{name}.ko", param, "--trace", f"trace.{kind}"])
    assert_shown(Path(f"trace.{kind}").read_bytes(), kind)


def test_names_in_the_documents_of_a_run_and_of_a_survey_are_shown_not_obeyed(name: str) -> None:
    directory = Path("real/lib/modules") / RELEASE
    directory.mkdir(parents=True)
    file = Path(f"R{name}.ko").rename(directory / f"R{name}.ko")
    run(["depmod", "-b", "real", RELEASE])
    run(["run", "--kernel", "none", "--for", "0", str(file), "--junit", "run.XML"])
    documents = ["--html", "survey.HTML", "--junit", "survey.XML", "--journal", "journal"]
    out, err = run(["survey", "-d", "real", "--kernel", "none", "--jobs", "1", *documents])
    assert_shown(out)
    assert_shown(err)
    for path in [path for path in Path().iterdir() if path.suffix in (".XML", ".HTML")]:
        assert_shown(path.read_bytes(), path.suffix[1:])
