"""Read-copy update: RCU and SRCU (Linux: kernel/rcu/)."""
