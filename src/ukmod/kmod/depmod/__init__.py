"""depmod: read a tree of modules, work out who needs whom, and write the files modprobe reads.

Each step is a module of this package, and its result a value the next one takes:

- :mod:`config`: depmod.d, that is which directories win and which are left out
- :mod:`ere`: the regular expressions in it, which are POSIX's
- :mod:`scan`: the directories' module files, one for each name
- :mod:`order`: the order of modules and symbols, on which all the files depend
- :mod:`facts`: what depmod wants to know of one module file
- :mod:`reader`: the facts of all modules, on two cores
- :mod:`dependencies`: who owns which symbol, and so which module needs which
- :mod:`graph`: the topological order, or the cycles that stand against it
- :mod:`output`: the text and binary files, as bytes
- :mod:`full`: all of that at once, on two cores
- :mod:`incremental`: which of those files need making at all, after a run that left word of itself
- :mod:`parts`: what it left of each module, :mod:`archive`: of all of them, and :mod:`cache`: where
- :mod:`patch`: the files changed where few modules did, instead of made again
- :mod:`publish`: all of them into the directory, or none
- :mod:`library`: the same as a function, ``ukmod.kmod.depmod()``
"""

import sys
from types import ModuleType

__all__: list[str] = []


class _Depmod(ModuleType):
    """This package, which can be called: ``ukmod.kmod.depmod`` names it and the function, whichever is
    first.
    """

    def __call__(self, *arguments: object, **options: object) -> object:
        """Call :func:`ukmod.kmod.depmod.library.depmod`."""
        from ukmod.kmod.depmod.library import depmod

        return depmod(*arguments, **options)  # type: ignore[arg-type]


sys.modules[__name__].__class__ = _Depmod
