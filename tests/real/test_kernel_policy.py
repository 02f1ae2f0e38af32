"""A real kernel, started with parameters that make it refuse modules: explain says the same."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.real import uml
from tests.real.uml import Uml

from ukmod.kmod.config import Source
from ukmod.kmod.context import Context
from ukmod.kmod.explanation import Explainer
from ukmod.kmod.kernelargs import BootArguments, policy_of
from ukmod.kmod.objections import Inspector, KernelFacts
from ukmod.kmod.tree import Tree

pytestmark = [pytest.mark.real, pytest.mark.slow]

WORDS = ("crc8", "slhc", "ppp_async", "minix", "sha512_generic", "eql")
_TRY = "for word in {words}; do modprobe $word; cat /sys/module/$word/initstate >/mnt/$word; done"

COMMAND_LINES = {
    "module_blacklist=crc8,slhc": {"minix", "sha512_generic", "eql"},
    'module_blacklist="crc8,minix" modprobe.blacklist=eql': {"slhc", "ppp_async", "sha512_generic", "eql"},
    "module_blacklist=crc8 module-blacklist=minix": {"crc8", "slhc", "ppp_async", "sha512_generic", "eql"},
    "initcall_blacklist=init_minix_fs,x initcall_blacklist=sha512_generic_mod_init": {
        *("crc8", "slhc", "ppp_async", "eql")
    },
    "initcall_blacklist=init_module -- module_blacklist=crc8": set(WORDS),
    "nomodule": set(),
    "nomodule=1 nomodule=off": set(WORDS),
    "sysctl.kernel.modules_disabled=1": set(),
}
"""What each leaves to be loaded of the words: seen in user-mode-linux."""


@pytest.mark.parametrize("cmdline", COMMAND_LINES)
def test_explain_says_what_a_kernel_with_this_command_line_does(cmdline: str, tmp_path: Path) -> None:
    uml.require()
    (tmp_path / "config").mkdir()
    results = Uml(tmp_path).run(
        _TRY.format(words=" ".join(WORDS)), config=tmp_path / "config", command_line=cmdline
    )
    real = {word for word in WORDS if (results / word).read_text() == "live\n"}
    boot = BootArguments(f"quiet {cmdline}", Source("/proc/cmdline"))
    tree = Tree(str(uml.MODULES / uml.release()), config_paths=())
    context = Context.open(tree, kernel_cmdline=boot.text.encode())
    explainer = Explainer(context, Inspector(tree, KernelFacts()), policy=policy_of(boot))
    said = {word for word in WORDS if explainer.explain(word).is_loaded}
    assert said == real == COMMAND_LINES[cmdline]
