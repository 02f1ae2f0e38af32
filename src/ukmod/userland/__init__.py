"""The programs a usermode helper can execute, in process."""
