"""Exceptions of an x86-64 CPU: faults, stack unwinding, instruction decoding (arch/x86/kernel/)."""
