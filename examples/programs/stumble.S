/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Write the first letter of the argument to /proc/stumble. No library and no compiler decides what is in the
 * registers then, or where: a log of the kernel that shows them is always the same.
 */
#include <asm/prctl.h>
#include <asm/unistd.h>

	.section .fixed, "awx"
	.globl _start
_start:
	movq	16(%rsp), %rax		/* argv[1] */
	movb	(%rax), %al
	movb	%al, letter(%rip)
	movl	$stack, %esp
	movl	$__NR_arch_prctl, %eax
	movl	$ARCH_SET_FS, %edi
	movl	$0xf5f5f5, %esi
	syscall
	movl	$__NR_arch_prctl, %eax
	movl	$ARCH_SET_GS, %edi
	movl	$0x959595, %esi
	syscall
	movl	$__NR_open, %eax
	movl	$path, %edi
	movl	$1, %esi		/* O_WRONLY */
	syscall
	movl	%eax, %edi
	movl	$letter, %esi
	movl	$1, %edx
	movl	$0xb, %ebx
	movl	$0xbb, %ebp
	movl	$0x8, %r8d
	movl	$0x9, %r9d
	movl	$0x10, %r10d
	movabsq	$0x1212121212121212, %r12
	movl	$0x13, %r13d
	movl	$0x14, %r14d
	movl	$0x15, %r15d
	movl	$__NR_write, %eax
	syscall
	sarq	$63, %rax
	movl	%eax, %edi
	andl	$1, %edi
	movl	$__NR_exit_group, %eax
	syscall
path:
	.asciz	"/proc/stumble"
letter:
	.byte	0
	.balign	16
	.skip	64
stack:
	.quad	0
