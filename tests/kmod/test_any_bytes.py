"""No input makes a parser raise anything but our own errors: the text files, any bytes in them.

Those of the other formats are beside what they test, each with ``@given``: ELF in test_elf and test_symbols,
modinfo in test_modinfo, the .bin indexes in test_index, modprobe.d in test_config, command lines in
test_cmdline, DER and PKCS#7 in test_der, signatures in test_signature, compressed files in test_compression,
wildcards in test_wildcard, regular expressions in depmod/test_ere; BTF, DWARF, profiles and images in
tests/machine.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from tests.kmod.fakehost import FakeHost

from ukmod.kmod.depmod.analysis import Analysis
from ukmod.kmod.depmod.config import load_config
from ukmod.kmod.depmod.dependencies import parse_symvers, parse_system_map
from ukmod.kmod.depmod.order import module_order
from ukmod.kmod.depmod.output import Output
from ukmod.kmod.depmod.scan import Candidate
from ukmod.kmod.loaded import loaded_modules

MODULES = [Candidate(name, f"/d/kernel/{name}.ko", f"kernel/{name}.ko") for name in ("a", "b", "c")]
WORDS = ("search ", "override ", "external ", "exclude ", "a", "/", "*", "[", "(", "\\\n", "\n", "#", "\t")
FILES = ("modules.order", "modules.builtin", "modules.builtin.modinfo")


@given(st.lists(st.one_of(st.sampled_from(WORDS).map(str.encode), st.binary(max_size=4)), max_size=20))
def test_depmod_d(pieces: list[bytes]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "x.conf").write_bytes(b"".join(pieces))
        config = load_config("6.1.0", [directory])
    assert config.searches
    assert all("/" in override for override in config.overrides)


@given(
    st.lists(st.sampled_from([*"ab.=\n\0*[] /", "kernel/a.ko\n", "a.alias=x\0"]), max_size=20),
    st.binary(max_size=8),
)
def test_kbuild_s_lists(pieces: list[str], tail: bytes) -> None:
    with tempfile.TemporaryDirectory() as directory:
        for name in FILES:
            Path(directory, name).write_bytes("".join(pieces).encode() + tail)
        assert {module.name for module in module_order(MODULES, directory)} == {"a", "b", "c"}
        made = Output(Analysis([], [], {}, (), (), ()), directory).make()
    # What is not 7-bit is named instead of written.
    assert all(isinstance(content, bytes) or not content.isascii() for content, *_rest in made.values())


@given(st.text("0123456789abcxT \t\n_vmlinuksy", max_size=60), st.sampled_from(["", "_"]))
def test_lists_of_the_kernel_s_symbols(text: str, prefix: str) -> None:
    for parse in (parse_symvers, parse_system_map):
        assert "__this_module" in parse(text, "file", prefix)


@given(
    st.lists(
        st.one_of(st.sampled_from(["a-b 16384 2 c,d, Live 0x0\n", " ", "\n", "\t"]), st.text(max_size=6))
    )
)
def test_proc_modules(pieces: list[str]) -> None:
    host = FakeHost()
    text = "".join(pieces)
    host.proc_modules = lambda: text  # type: ignore[method-assign]
    lines = [line for line in text.splitlines() if line.split()]
    listed = list(loaded_modules(host))
    assert len(listed) == len(lines)
    # Nothing but names is believed of it: the rest is asked of /sys/module.
    assert all("-" not in module.name and module.size < 0 and module.refcnt < 0 for module in listed)
