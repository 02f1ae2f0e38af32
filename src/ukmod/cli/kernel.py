"""``ukmod kernel``: check an image, fetch kernels, list those on this machine."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence

from ukmod.cli import command_lines
from ukmod.cli.document import print_document
from ukmod.cli.terminal import write_lines
from ukmod.errors import UkmodError, UsageError
from ukmod.kernel.api import Kernel
from ukmod.kernel.image.assumptions import Assumption, Standing, check
from ukmod.machine.image.image import KernelImage
from ukmod.machine.image.installed import image_at
from ukmod.machine.types.select import types_for


def main(argv: Sequence[str]) -> int:
    """Run the action; its exit status."""
    options = command_lines.kernel().parse_args(argv)
    if options.action == "check":
        return _check(options)
    from ukmod.cli import kernels

    return kernels.main(options)


def _check(options: argparse.Namespace) -> int:
    """Check an image, and bring it up; 1 if an assumption does not hold or a step fails."""
    if len(options.kernels) != 1:
        raise UsageError("check takes one image, or one kernel that was fetched")
    image = KernelImage(image_at(options.kernels[0]))
    found = check(image, types_for((), btf=options.btf, kernel=image))
    steps, failed = _brought_up(image.path, options.btf)
    if options.json:
        print_document("kernel", _content(image, found, steps, failed))
    else:
        write_lines(_lines(image, found, steps, failed, everything=options.all))
    return int(bool(failed) or any(finding.state is Standing.UNMET for finding in found))


def _brought_up(image: str, btf: str | None) -> tuple[int, list[str]]:
    """The number of steps of bringing the image up, and a line for each that failed, or why none was run."""
    with Kernel(image=image, btf=btf) as k:
        try:
            k.boot()
        except UkmodError as error:
            return 0, [error.message]
        boot = k.core.boot
        assert boot is not None
        return len(boot.done), [f"{step.name}: {step.outcome}" for step in boot.failed]


def _lines(
    image: KernelImage, found: Sequence[Assumption], steps: int, failed: Sequence[str], *, everything: bool
) -> list[str]:
    count = Counter(finding.state for finding in found)
    states = ", ".join(f"{count[state]} {state.value}" for state in Standing)
    head = f"{image.release}: assumptions: {states}; steps: {steps}, {len(failed)} failed"
    shown = [finding for finding in found if everything or finding.state is Standing.UNMET]
    return [head, *map(str, shown), *failed]


def _content(
    image: KernelImage, found: Sequence[Assumption], steps: int, failed: Sequence[str]
) -> dict[str, object]:
    return {
        "image": image.path,
        "release": image.release,
        "assumptions": [
            {
                "symbol": finding.subject,
                "assumed": finding.assumed,
                "state": finding.state.value,
                "detail": finding.detail,
                "endangers": finding.endangers,
            }
            for finding in found
        ],
        "steps": steps,
        "failed": list(failed),
    }
