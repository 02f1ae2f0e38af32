"""The language of modprobe.d's commands: a parser of sh, and the expansion of words.

:mod:`ukmod.kmod.predict` follows the trees without running anything; the emulated machine's /bin/sh
(:mod:`ukmod.userland.shell`) carries them out.
"""
