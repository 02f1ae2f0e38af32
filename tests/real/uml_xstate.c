// SPDX-License-Identifier: GPL-2.0-only
/*
 * Preloaded into user-mode-linux, which knows x86 register sets of up to 2696 bytes (AVX-512). On a processor
 * with AMX the set is longer, and since 5.16 the host takes only all of it: PTRACE_SETREGSET with less is
 * EFAULT, and the guest's init dies at once. What the guest does not know of is added here, as it stands.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

static long (*libc_ptrace)(enum __ptrace_request, ...);

static long set_whole_xstate(int pid, struct iovec *given)
{
	static char registers[1 << 16];
	struct iovec whole = { registers, sizeof(registers) };

	if (libc_ptrace(PTRACE_GETREGSET, pid, NT_X86_XSTATE, &whole) < 0 || whole.iov_len <= given->iov_len)
		whole = *given;
	else
		memcpy(registers, given->iov_base, given->iov_len);
	return libc_ptrace(PTRACE_SETREGSET, pid, NT_X86_XSTATE, &whole);
}

long ptrace(enum __ptrace_request request, ...)
{
	va_list arguments;
	int pid;
	long address;
	void *data;

	va_start(arguments, request);
	pid = va_arg(arguments, int);
	address = va_arg(arguments, long);
	data = va_arg(arguments, void *);
	va_end(arguments);
	if (!libc_ptrace)
		libc_ptrace = dlsym(RTLD_NEXT, "ptrace");
	if (request == PTRACE_SETREGSET && address == NT_X86_XSTATE)
		return set_whole_xstate(pid, data);
	return libc_ptrace(request, pid, address, data);
}
