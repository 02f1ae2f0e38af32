"""The scheduler and everything tasks wait on (Linux: kernel/sched/)."""
