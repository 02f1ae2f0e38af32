"""What an x86-64 CPU raises and a kernel handles: faults, unwinding, instructions (arch/x86/kernel/)."""
