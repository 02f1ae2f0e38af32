"""The emulated machine under the kernel half: CPU, memory, the C ABI and C types."""
