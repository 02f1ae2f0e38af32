"""Records what the kernel's own functions compute: ``python -m tests.real.computed``, from the repository."""

from __future__ import annotations

from tests.kernel.image.computing import Image
from tests.kernel.twins import recorded
from tests.kernel.twins.tables import TWINS
from tests.real import debian

from ukmod.kernel.api import Kernel
from ukmod.kernel.trees import open_tree


def main() -> None:
    """Record the first cases of each table."""
    package = debian.found()
    with Kernel(tree=open_tree(package.modules), image=package.vmlinuz) as k:
        k.boot()
        image = Image(k)
        recorded.store({str(twin): image.kept(twin) for twin in TWINS})


if __name__ == "__main__":
    main()
