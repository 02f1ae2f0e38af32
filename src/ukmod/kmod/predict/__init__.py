"""A prediction of modprobe: its steps, the commands that it runs, and the kernel's answer to each module.

Where something cannot be known (a program of somebody's own, the exit status of grep) the prediction follows
both ways: a :class:`World` for each. What is so in all of them is certain.
"""
