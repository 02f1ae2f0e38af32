"""depmod after a small change: the files of the last run are edited, not made again."""
