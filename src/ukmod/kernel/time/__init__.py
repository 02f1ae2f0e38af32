"""What the kernel has in kernel/time/: the clock, timers, conversions and sleeps."""
