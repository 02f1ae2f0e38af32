"""The kernel half: request_module() and everything behind it, named after the kernel's own files."""
