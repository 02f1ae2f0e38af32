"""The numbers of signals (arch/x86/include/uapi/asm/signal.h). The host's may differ, or be missing."""

from __future__ import annotations

SIGHUP, SIGQUIT = 1, 3
SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGKILL, SIGSEGV = 4, 5, 6, 7, 8, 9, 11
SIGCHLD, SIGCONT, SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU, SIGURG = 17, 18, 19, 20, 21, 22, 23
SIGALRM = 14
SIGXCPU, SIGXFSZ, SIGWINCH, SIGSYS = 24, 25, 28, 31
SIGRTMIN = 32
