"""Print what an extra of pyproject.toml requires, a line each, for ``pip install -r``.

``make demo`` installs these and nothing else: building ukmod itself would take longer than all of them.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"


def main(extra: str) -> None:
    """Print one extra's requirements."""
    project = tomllib.loads(PROJECT.read_text())["project"]
    print("\n".join(project["optional-dependencies"][extra]))


if __name__ == "__main__":
    main(sys.argv[1])
