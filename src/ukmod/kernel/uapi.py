"""Numbers of the system call interface of Linux on x86-64, whatever the host's own are."""

from __future__ import annotations

from typing import Final

AT_FDCWD: Final = -100
AT_SYMLINK_NOFOLLOW, AT_REMOVEDIR = 0x100, 0x200
O_RDONLY, O_WRONLY, O_RDWR = 0, 1, 2
O_CREAT, O_EXCL, O_NOCTTY, O_TRUNC, O_APPEND, O_NONBLOCK = 0o100, 0o200, 0o400, 0o1000, 0o2000, 0o4000
O_DIRECTORY, O_CLOEXEC, O_PATH = 0o200000, 0o2000000, 0o10000000
"""include/uapi/asm-generic/fcntl.h"""
POLLIN, POLLPRI, POLLOUT, POLLERR, POLLHUP, POLLNVAL = 1, 2, 4, 8, 16, 32
"""include/uapi/asm-generic/poll.h"""
S_IFIFO, S_IFCHR, S_IFDIR, S_IFBLK, S_IFREG = 0o010000, 0o020000, 0o040000, 0o060000, 0o100000
"""include/uapi/linux/stat.h"""
MAP_SHARED, MAP_PRIVATE, MAP_ANONYMOUS = 1, 2, 0x20
PROT_READ, PROT_WRITE, PROT_EXEC = 1, 2, 4
"""include/uapi/asm-generic/mman-common.h"""
AF_UNIX, AF_INET, AF_INET6, AF_NETLINK, AF_PACKET, AF_ALG = 1, 2, 10, 16, 17, 38
"""include/linux/socket.h"""
SOCK_STREAM, SOCK_DGRAM, SOCK_RAW, SOCK_SEQPACKET = 1, 2, 3, 5
"""include/linux/net.h"""
MSG_DONTWAIT: Final = 0x40
"""include/linux/socket.h"""
ETH_P_ALL, ETH_HLEN = 0x0003, 14
PACKET_HOST, PACKET_OUTGOING = 0, 4
IFF_UP: Final = 1
"""include/uapi/linux/if_ether.h, if_packet.h, if.h"""
SIOCGIFNAME, SIOCGIFFLAGS, SIOCSIFFLAGS, SIOCGIFINDEX = 0x8910, 0x8913, 0x8914, 0x8933
"""include/uapi/linux/sockios.h"""

CLONE_VM, CLONE_FS, CLONE_FILES, CLONE_SIGHAND = 0x100, 0x200, 0x400, 0x800
CLONE_VFORK, CLONE_THREAD, CLONE_SYSVSEM, CLONE_SETTLS = 0x4000, 0x1_0000, 0x4_0000, 0x8_0000
CLONE_PARENT_SETTID, CLONE_CHILD_CLEARTID, CLONE_CHILD_SETTID = 0x10_0000, 0x20_0000, 0x100_0000
CLONE_DETACHED = 0x40_0000
"""sched.h; the last one has no effect."""
