"""GRUB's configuration files: a language of its own, and the command lines that an entry can come to."""
