"""Userspace half: kmod as a typed library, standard library only."""
