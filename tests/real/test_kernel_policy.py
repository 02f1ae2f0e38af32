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
_TRY = """\
for word in {words}; do
    modprobe $word
    cat /sys/module/$word/initstate >/mnt/$word
    for loaded in {words} ppp_generic crc_ccitt slhc; do modprobe -q -r -i $loaded; done
done
"""

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


CONFIGURATIONS = {
    "install slhc /bin/true\n": {"crc8", "minix", "sha512_generic", "eql"},
    "install slhc /bin/false\n": {"crc8", "minix", "sha512_generic", "eql"},
    "install slhc /sbin/modprobe -q --ignore-install slhc || true\n": set(WORDS),
    "install ppp_generic /bin/false\nblacklist slhc\n": {"crc8", "slhc", "minix", "sha512_generic", "eql"},
    "install crc8 modprobe minix\ninstall minix exit 0\ninstall eql nosuch\n": {
        *("slhc", "ppp_async", "sha512_generic")
    },
    "softdep minix pre: eql\ninstall minix /bin/false\ninstall eql /bin/false\n": {
        *("crc8", "slhc", "ppp_async", "minix", "sha512_generic")
    },
}
"""The same for modprobe.d."""


def compare(directory: Path, cmdline: str = "", text: str = "") -> set[str]:
    """Return the words that a real kernel has in the end; explain has to say the same of each."""
    uml.require()
    config = directory / "config"
    config.mkdir()
    (config / "x.conf").write_text(text)
    results = Uml(directory).run(_TRY.format(words=" ".join(WORDS)), config=config, command_line=cmdline)
    real = {word for word in WORDS if (results / word).read_text() == "live\n"}
    boot = BootArguments(f"quiet {cmdline}", Source("/proc/cmdline"))
    tree = Tree(str(uml.MODULES / uml.release()), config_paths=(str(config),))
    context = Context.open(tree, kernel_cmdline=boot.text.encode())
    explainer = Explainer(context, Inspector(tree, KernelFacts()), policy=policy_of(boot))
    assert {word for word in WORDS if explainer.explain(word).is_loaded} == real
    return real


@pytest.mark.parametrize("cmdline", COMMAND_LINES)
def test_explain_says_what_a_kernel_with_this_command_line_does(cmdline: str, tmp_path: Path) -> None:
    assert compare(tmp_path, cmdline) == COMMAND_LINES[cmdline]


@pytest.mark.parametrize("text", CONFIGURATIONS)
def test_explain_says_what_becomes_of_modules_with_this_configuration(text: str, tmp_path: Path) -> None:
    assert compare(tmp_path, text=text) == CONFIGURATIONS[text]
