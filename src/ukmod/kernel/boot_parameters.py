"""The kernel's own command line: Documentation/admin-guide/kernel-parameters.rst."""

from __future__ import annotations

from ukmod.kmod.kernelargs import kernel_arguments


def boot_parameters(cmdline: str) -> dict[str, str | None]:
    """The parameters of the kernel's own command line; of several with the same name, the last one.

    Names have underscores. A parameter without an equals sign has the value None. "--" ends the parameters.
    """
    return {name.replace("-", "_"): value for name, value in kernel_arguments(cmdline)}
