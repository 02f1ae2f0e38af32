"""Tasks take turns, and wait for each other (Linux: kernel/sched/)."""
