"""A real kernel image inside the emulated kernel; it runs everything Python does not implement.

A kernel without an image imports none of this: a third of a short run's time would be spent on it.
"""
