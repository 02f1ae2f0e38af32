"""The kernel half: request_module() and everything behind it, named after the kernel's own files."""

import time

IMPORTED = time.time()
"""When this process began to import these files: a file that changes later is not the one that runs here."""
