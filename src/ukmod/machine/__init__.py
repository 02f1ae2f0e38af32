"""What the kernel half runs on: an emulated CPU, its memory, the C ABI and C types."""
