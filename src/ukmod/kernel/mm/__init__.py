"""The kernel's mm/: slab, pages, vmalloc, per-CPU memory and user memory."""
