"""The module loader: from a .ko's bytes to running code and back (Linux: kernel/module/)."""
