"""``python -m ukmod`` is the ``ukmod`` program."""

import sys

from ukmod.cli import main

sys.exit(main())
