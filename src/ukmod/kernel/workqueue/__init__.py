"""Workqueues: queues, pools of workers, and the functions that modules call (Linux: kernel/workqueue.c)."""
