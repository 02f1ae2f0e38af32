"""What the kernel has in lib/: strings, formats, numbers, data structures."""
