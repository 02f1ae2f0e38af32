"""The kernel's kernel/locking/: mutexes, semaphores and spinlocks."""
