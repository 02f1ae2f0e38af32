"""The kernel's kernel/time/: the clock, timers, conversions and sleeps."""
