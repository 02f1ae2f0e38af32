"""What the kernel has in mm/: slab, pages, vmalloc, per-CPU memory, user memory."""
