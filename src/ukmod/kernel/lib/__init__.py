"""The kernel's lib/: strings, formats, numbers and data structures."""
