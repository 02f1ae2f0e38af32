"""The user's side: processes of an image's kernel, whose system calls Python makes.

What the image can do, it does: address spaces, file tables, credentials, the file system and every system
call are its own. A process here is a task whose program is written in Python.
"""
