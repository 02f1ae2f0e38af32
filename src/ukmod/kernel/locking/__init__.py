"""What the kernel has in kernel/locking/: mutexes, semaphores, spinlocks."""
