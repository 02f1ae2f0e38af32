"""Does a kernel refuse unsigned modules? Its command line may ask for it, and how it was built decides.

The rules are those of module_sig_check() in Linux's kernel/module/signing.c, of security/lockdown/, and of
the order of security modules in security/security.c.
"""

from __future__ import annotations

import re

from ukmod.kmod.kernelargs import kernel_arguments

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

    from ukmod.kmod.config import Source
    from ukmod.kmod.kernelargs import BootArguments, KernelPolicy

__all__ = ["enforced_by", "locked_down"]

_LOCKDOWN = "CONFIG_SECURITY_LOCKDOWN_LSM=y"
_LOCKDOWN_EARLY = "CONFIG_SECURITY_LOCKDOWN_LSM_EARLY=y"
_LOCKED_BY_BUILD = (
    "CONFIG_LOCK_DOWN_KERNEL_FORCE_INTEGRITY=y",
    "CONFIG_LOCK_DOWN_KERNEL_FORCE_CONFIDENTIALITY=y",
)


def enforced_by(
    policy: KernelPolicy, boot: BootArguments, options: Collection[str], config: Source
) -> tuple[str, Source] | None:
    """Return what makes a kernel refuse unsigned modules, and where it is; None if it takes them.

    ``options`` are the lines of the kernel's configuration, which is the file ``config``.
    """
    if "CONFIG_MODULE_SIG_FORCE=y" in options:
        return "CONFIG_MODULE_SIG_FORCE=y", config
    if "CONFIG_MODULE_SIG=y" not in options:
        return None
    can_lock_down = _has_lockdown(boot, options)
    for asked, source in policy.enforced_if_built:
        if can_lock_down or not asked.startswith("lockdown"):
            return asked, source
    built = next((option for option in _LOCKED_BY_BUILD if option in options), None)
    return (built, config) if built and can_lock_down else None


def _has_lockdown(boot: BootArguments, options: Collection[str]) -> bool:
    """Tell whether the security module of this name is built in and among those that are started."""
    if _LOCKDOWN not in options:
        return False
    if _LOCKDOWN_EARLY in options:
        return True  # it is started before there is a list
    built = next((option.partition("=")[2] for option in options if option.startswith("CONFIG_LSM=")), None)
    given = [value for name, value in kernel_arguments(boot.text) if name == "lsm" and value is not None]
    chosen = given[-1] if given else built
    return chosen is None or "lockdown" in chosen.strip('"').split(",")


def locked_down(text: str) -> str | None:
    """Return the level that /sys/kernel/security/lockdown shows; None if modules need no signature."""
    found = re.search(r"\[(\w+)\]", text)
    return None if found is None or found[1] == "none" else found[1]
