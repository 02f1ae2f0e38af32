// SPDX-License-Identifier: GPL-2.0-only
/* The CPU's control: registers, segments, descriptor tables, flags, and instructions that few know. */
#include "attack.h"

static noinline int alive(const char *what)
{
	pr_info("%s\n", what);
	return 0;
}

/* -- control registers -- */

#define WRITE_CR(number, bits)	asm volatile("mov %0,%%cr" #number : : "r" ((unsigned long)(bits)) : "memory")
#define READ_CR(number)		({ unsigned long cr; asm volatile("mov %%cr" #number ",%0" : "=r" (cr)); cr; })

#define CR(number, name, bits, ends) \
	ATTACK(name, ends) { WRITE_CR(number, bits); return alive(#name); }

CR(0, cr0_paging_off, READ_CR(0) & ~(1UL << 31), "oops")
CR(0, cr0_protection_off, READ_CR(0) & ~1UL, "any")
CR(0, cr0_real_mode, READ_CR(0) & ~(1UL << 31 | 1UL), "oops")
CR(0, cr0_write_protect_off, READ_CR(0) & ~(1UL << 16), "returns")
CR(0, cr0_emulation, READ_CR(0) | 4, "returns")
CR(0, cr0_cache_disabled, READ_CR(0) | 3UL << 29, "returns")
CR(0, cr0_zero, 0, "oops")
CR(0, cr0_ones, ~0UL, "any")
CR(3, cr3_zero, 0, "any")
CR(3, cr3_outside_of_ram, 0xfffffff000UL, "any")
CR(3, cr3_ones, ~0UL, "any")
CR(3, cr3_device, (0xfee00000UL + (1UL << 30)), "any")
CR(3, cr3_unaligned, root() | 0xfff, "any")
CR(4, cr4_zero, 0, "any")
CR(4, cr4_five_levels, READ_CR(4) | 1UL << 12, "any")
CR(4, cr4_smep_smap, READ_CR(4) | 3UL << 20, "any")
CR(4, cr4_pcid, READ_CR(4) | 1UL << 17, "any")
CR(4, cr4_vmx, READ_CR(4) | 1UL << 13, "any")
CR(4, cr4_xsave, READ_CR(4) | 1UL << 18, "any")
CR(4, cr4_protection_keys, READ_CR(4) | 1UL << 22, "any")
CR(4, cr4_debug_extensions, READ_CR(4) | 1UL << 3, "any")
CR(4, cr4_no_sse, READ_CR(4) & ~(3UL << 9), "any")
CR(4, cr4_ones, ~0UL, "any")
CR(4, cr4_fsgsbase, READ_CR(4) | 1UL << 16, "any")
CR(2, cr2_any, NOT_CANONICAL, "returns")
CR(8, cr8_ones, ~0UL, "any")
CR(8, cr8_all_interrupts_masked, 15, "any")

ATTACK(cr1, "oops")
{
	asm volatile(".byte 0x0f, 0x22, 0xc8");		/* mov %rax,%cr1 */
	return 0;
}

ATTACK(cr3_empty_tables, "any")
{
	set_root(virt_to_phys((void *)get_zeroed_page(GFP_KERNEL)));
	return alive("without tables");
}

ATTACK(cr3_table_of_itself, "any")
{
	unsigned long *table = (void *)get_zeroed_page(GFP_KERNEL), at = virt_to_phys(table);
	int i;

	for (i = 0; i < 512; i++)
		table[i] = at | 3;
	set_root(at);
	return alive("tables of themselves");
}

/* The same addresses, except that the stubs are other memory there. */
ATTACK(cr3_other_stubs, "any")
{
	unsigned long *table = (void *)get_zeroed_page(GFP_KERNEL);
	void *old = physical(root());

	memcpy(table, old, PAGE_SIZE);
	table[511] = 0;
	set_root(virt_to_phys(table));
	return alive("without stubs");
}

ATTACK(debug_registers, "any")
{
	unsigned long all = ~0UL;

	asm volatile("mov %0,%%dr0; mov %1,%%dr1; mov %2,%%dr2; mov %3,%%dr3; mov %4,%%dr7"
		     : : "r" (STUBS), "r" (FRAME), "r" (&all), "r" (NOT_CANONICAL), "r" (0xffff07ffUL));
	return alive("watched");
}

ATTACK(debug_registers_of_code, "any")
{
	asm volatile("mov %0,%%dr0; mov %0,%%dr1; mov %1,%%dr7" : : "r" (alive), "r" (0x40fUL));
	return alive("watched");
}

ATTACK(debug_register_7_ones, "any")
{
	asm volatile("mov %0,%%dr7" : : "r" (~0UL));
	return alive("dr7");
}

ATTACK(debug_register_6_ones, "any")
{
	asm volatile("mov %0,%%dr6" : : "r" (~0UL));
	return alive("dr6");
}

/* -- model-specific registers -- */

static void write_msr(u32 number, u64 value)
{
	asm volatile("wrmsr" : : "c" (number), "a" ((u32)value), "d" ((u32)(value >> 32)) : "memory");
}

static u64 read_msr(u32 number)
{
	u32 low, high;

	asm volatile("rdmsr" : "=a" (low), "=d" (high) : "c" (number));
	return low | (u64)high << 32;
}

#define MSR(name, number, value, ends) \
	ATTACK(name, ends) { write_msr(number, value); return alive(#name); }

MSR(efer_zero, 0xc0000080, 0, "any")
MSR(efer_ones, 0xc0000080, ~0ULL, "any")
MSR(efer_no_long_mode, 0xc0000080, read_msr(0xc0000080) & ~0x500ULL, "any")
MSR(efer_no_nx, 0xc0000080, read_msr(0xc0000080) & ~0x800ULL, "any")
MSR(efer_svme, 0xc0000080, read_msr(0xc0000080) | 1ULL << 12, "any")
MSR(gs_base_zero, 0xc0000101, 0, "any")
MSR(gs_base_not_canonical, 0xc0000101, NOT_CANONICAL, "any")
MSR(gs_base_of_stubs, 0xc0000101, STUBS, "any")
MSR(gs_base_of_user, 0xc0000101, USER, "any")
MSR(fs_base_not_canonical, 0xc0000100, NOT_CANONICAL, "any")
MSR(apic_base_off, 0x1b, 0, "any")
MSR(apic_base_elsewhere, 0x1b, 0x100900, "any")
MSR(apic_x2, 0x1b, 0xfee00d00, "any")
MSR(tsc_zero, 0x10, 0, "any")
MSR(tsc_ones, 0x10, ~0ULL, "any")
MSR(tsc_deadline, 0x6e0, 1, "any")
MSR(pat_ones, 0x277, ~0ULL, "any")
MSR(mtrr_ones, 0x2ff, ~0ULL, "any")
MSR(machine_check_ones, 0x401, ~0ULL, "any")
MSR(debug_control, 0x1d9, ~0ULL, "any")
MSR(vm_hsave, 0xc0010117, ~0ULL, "any")
MSR(xss, 0xda0, ~0ULL, "any")
MSR(spec_ctrl, 0x48, ~0ULL, "any")
MSR(microcode, 0x79, (u64)&alive, "any")
MSR(smm_base, 0x9e, 0, "any")

#define SWEEP(name, first, value) \
	ATTACK(name, "any") { u32 i; for (i = (first); i < (first) + 0x400; i++) write_msr(i, value); return alive(#name); }

SWEEP(msrs_zero, 0, 0)
SWEEP(msrs_ones, 0, ~0ULL)
SWEEP(msrs_amd_zero, 0xc0010000, 0)
SWEEP(msrs_amd_ones, 0xc0010000, ~0ULL)
SWEEP(msrs_x2apic_ones, 0x800, ~0ULL)
SWEEP(msrs_hypervisor_ones, 0x40000000, ~0ULL)

ATTACK(msrs_read, "any")
{
	u64 sum = 0;
	u32 i;

	for (i = 0; i < 0x2000; i++)
		sum += read_msr(i) + read_msr(0xc0000000 + i) + read_msr(0xc0010000 + i);
	return alive(sum ? "read" : "zeros");
}

/* -- descriptor tables, segments, rings -- */

struct pointer {
	u16 limit;
	unsigned long base;
} __packed;

static u64 gdt[64] __aligned(16);
static u64 idt[512] __aligned(16);
static u8 tss[512] __aligned(16);

#define CODE64	0x00af9b000000ffffULL
#define CODE32	0x00cf9b000000ffffULL
#define CODE16	0x00009b000000ffffULL
#define DATA	0x00cf93000000ffffULL
#define USER64	0x00affb000000ffffULL
#define USERDATA 0x00cff3000000ffffULL

static void load_gdt_of(void *base, u16 limit)
{
	struct pointer at = { limit, (unsigned long)base };

	asm volatile("lgdt %0" : : "m" (at) : "memory");
}

static void load_idt_of(void *base, u16 limit)
{
	struct pointer at = { limit, (unsigned long)base };

	asm volatile("lidt %0" : : "m" (at) : "memory");
}

/* 0x10: code, 0x18: data, 0x20: 32 bits, 0x28: 16 bits, 0x33 and 0x3b: ring 3. */
static void own_gdt(void)
{
	gdt[2] = CODE64;
	gdt[3] = DATA;
	gdt[4] = CODE32;
	gdt[5] = CODE16;
	gdt[6] = USERDATA;
	gdt[7] = USER64;
	gdt[8] = 0xffffffffffffffffULL;
	load_gdt_of(gdt, sizeof(gdt) - 1);
}

ATTACK(gdt_nowhere, "any")
{
	load_gdt_of((void *)UNMAPPED, 0xffff);
	asm volatile("mov %0,%%ss" : : "r" (0x18));
	return alive("ss");
}

ATTACK(gdt_not_canonical, "any")
{
	load_gdt_of((void *)NOT_CANONICAL, 0xffff);
	asm volatile("mov %0,%%ds" : : "r" (0x18));
	return alive("ds");
}

ATTACK(gdt_empty, "any")
{
	load_gdt_of(NULL, 0);
	asm volatile("mov %0,%%es" : : "r" (0x18));
	return alive("es");
}

ATTACK(segments_of_its_own, "any")
{
	own_gdt();
	asm volatile("mov %0,%%ss; mov %0,%%ds; mov %0,%%es; mov %0,%%fs" : : "r" (0x18));
	return alive("own segments");
}

ATTACK(segments_of_its_own_gs, "any")
{
	own_gdt();
	asm volatile("mov %0,%%gs" : : "r" (0x18));
	return alive("own gs");
}

ATTACK(segment_of_ones, "any")
{
	own_gdt();
	asm volatile("mov %0,%%ds; mov %0,%%ss" : : "r" (0x40));
	return alive("ones");
}

ATTACK(null_stack_segment, "any")
{
	asm volatile("mov %0,%%ss" : : "r" (0));
	return alive("null");
}

ATTACK(local_table, "any")
{
	asm volatile("lldt %w0" : : "r" (0x40));
	asm volatile("mov %0,%%ds" : : "r" (0x4));
	return alive("ldt");
}

ATTACK(task_register, "any")
{
	own_gdt();
	gdt[10] = 0x0000890000000000ULL | sizeof(tss) - 1;
	gdt[11] = ~0ULL;
	asm volatile("ltr %w0" : : "r" (0x50));
	return alive("tr");
}

ATTACK(idt_nowhere, "any")
{
	load_idt_of((void *)UNMAPPED, 0xffff);
	asm volatile("int3");
	return alive("int3");
}

ATTACK(idt_empty, "any")
{
	load_idt_of(NULL, 0);
	asm volatile("ud2");
	return 0;
}

ATTACK(idt_of_its_own, "any")
{
	unsigned long to = (unsigned long)alive;
	int i;

	for (i = 0; i < 256; i++) {
		idt[2 * i] = (to & 0xffff) | 0x10 << 16 | (u64)0x8e00 << 32 | (to >> 16 & 0xffff) << 48;
		idt[2 * i + 1] = to >> 32;
	}
	load_idt_of(idt, sizeof(idt) - 1);
	asm volatile("int $0x80");
	asm volatile("mov (%0),%%rax" : : "r" (0UL) : "rax");
	return alive("handled");
}

ATTACK(idt_that_faults_itself, "any")
{
	load_idt_of((void *)UNMAPPED, 0xffff);
	asm volatile("xor %%esp,%%esp; push %%rax" : : : "memory");
	return 0;
}

#define FAR(name, selector, ends)							\
	ATTACK(name, ends)								\
	{										\
		own_gdt();								\
		asm volatile("pushq %0; lea 1f(%%rip),%%rax; pushq %%rax; lretq; 1:"	\
			     : : "i" (selector) : "rax", "memory");			\
		return alive(#name);							\
	}

FAR(far_return_64, 0x10, "any")
FAR(far_return_32, 0x20, "any")
FAR(far_return_16, 0x28, "any")
FAR(far_return_ring_3, 0x3b, "any")
FAR(far_return_data, 0x18, "any")
FAR(far_return_null, 0, "any")
FAR(far_return_ones, 0x40, "any")

/* iretq to a place with flags, on its own or another stack. */
#define IRET(name, selector, stack_selector, stack, to, flags, ends)			\
	ATTACK(name, ends)								\
	{										\
		own_gdt();								\
		asm volatile("mov %%rsp,%%rdx; pushq %0; pushq %1; pushq %2; pushq %3; pushq %4; iretq" \
			     : : "i" (stack_selector), "r" ((unsigned long)(stack)), "r" ((unsigned long)(flags)), \
				 "i" (selector), "r" ((unsigned long)(to)) : "rdx", "memory"); \
		return 0;								\
	}

static void endless(void)
{
	for (;;)
		asm volatile("" : : : "memory");
}

IRET(iret_ring_3, 0x3b, 0x33, UNMAPPED, endless, 0x202, "any")
IRET(iret_ring_3_system_call, 0x3b, 0x33, UNMAPPED, STUBS, 0x202, "any")
IRET(iret_not_canonical, 0x10, 0x18, UNMAPPED, NOT_CANONICAL, 0x202, "any")
IRET(iret_no_stack, 0x10, 0x18, NOT_CANONICAL, alive, 0x202, "any")
IRET(iret_null_segments, 0, 0, 0, 0, 0, "any")
IRET(iret_32_bits, 0x20, 0x18, 0, 0, 0x202, "any")
IRET(iret_all_flags, 0x10, 0x18, UNMAPPED, alive, ~0UL, "any")
IRET(iret_single_step, 0x10, 0x18, UNMAPPED, endless, 0x302, "any")
IRET(iret_virtual_8086, 0x10, 0x18, 0, 0, 0x20202, "any")
IRET(iret_nested_task, 0x10, 0x18, UNMAPPED, endless, 0x4202, "any")
IRET(iret_into_the_stubs, 0x10, 0x18, FRAME + 0x800, ENTER + 3, 0x202, "any")

ATTACK(system_call, "any")
{
	write_msr(0xc0000081, 0x0023001000000000ULL);
	write_msr(0xc0000082, (u64)alive);
	asm volatile("syscall" : : "D" ("by syscall") : "rcx", "r11", "memory");
	return alive("after syscall");
}

ATTACK(system_call_nowhere, "any")
{
	write_msr(0xc0000081, ~0ULL);
	write_msr(0xc0000082, UNMAPPED);
	asm volatile("syscall" : : : "rcx", "r11", "memory");
	return 0;
}

ATTACK(system_return, "any")
{
	asm volatile("sysretq" : : "c" (endless), "a" (0));
	return 0;
}

ATTACK(system_return_32, "any")
{
	asm volatile("sysretl" : : "c" (endless));
	return 0;
}

ATTACK(system_enter, "any")
{
	write_msr(0x174, 0x10);
	write_msr(0x175, 0);
	write_msr(0x176, (u64)alive);
	asm volatile("sysenter" : : : "memory");
	return 0;
}

ATTACK(system_exit, "any")
{
	asm volatile("sysexitq" : : "c" (0), "d" (0));
	return 0;
}

ATTACK(swap_gs, "any")
{
	asm volatile("swapgs");
	return alive("swapped");
}

/* -- flags -- */

#define FLAGS(name, bits, ends)								\
	ATTACK(name, ends)								\
	{										\
		asm volatile("pushfq; orq %0,(%%rsp); popfq" : : "r" ((unsigned long)(bits)) : "memory", "cc"); \
		return alive(#name);							\
	}

FLAGS(flag_single_step, 0x100, "any")
FLAGS(flag_direction, 0x400, "any")
FLAGS(flag_io_privilege, 0x3000, "any")
FLAGS(flag_nested_task, 0x4000, "any")
FLAGS(flag_resume, 0x10000, "any")
FLAGS(flag_alignment, 0x40000, "any")
FLAGS(flag_identification, 0x200000, "any")
FLAGS(flags_all, ~0UL, "any")

ATTACK(interrupts_off_for_ever, "lockup")
{
	asm volatile("cli");
	for (;;)
		asm volatile("" : : : "memory");
}

ATTACK(halt_for_ever, "lockup")
{
	for (;;)
		asm volatile("hlt");
}

ATTACK(halt_without_interrupts, "lockup")
{
	asm volatile("cli");
	for (;;)
		asm volatile("hlt");
}

ATTACK(pause_for_ever, "lockup")
{
	for (;;)
		asm volatile("pause");
}

ATTACK(monitor_and_wait, "any")
{
	for (;;)
		asm volatile("monitor; mwait" : : "a" (&gdt), "c" (0), "d" (0));
}

ATTACK(wait_with_extensions, "any")
{
	asm volatile("mwait" : : "a" (~0UL), "c" (~0UL));
	return alive("waited");
}

/* -- interrupts by instruction -- */

#define INT(n) ATTACK(int_##n, "any") { asm volatile("int %0" : : "i" (n)); return alive("int"); }
INT(0) INT(1) INT(2) INT(3) INT(4) INT(8) INT(13) INT(14) INT(18) INT(32) INT(128) INT(255)

#define BYTES(name, bytes, ends) ATTACK(name, ends) { asm volatile(".byte " bytes : : "a" (&gdt), "b" (&idt), "c" (0), \
	"d" (0), "S" (&idt), "D" (&gdt) : "memory", "cc"); return alive(#name); }

BYTES(icebp, "0xf1", "any")
BYTES(into, "0xce", "oops")
BYTES(ud0, "0x0f, 0xff, 0xc0", "oops")
BYTES(ud1, "0x0f, 0xb9, 0xc0", "oops")
BYTES(rsm, "0x0f, 0xaa", "oops")
BYTES(vmrun, "0x0f, 0x01, 0xd8", "any")
BYTES(vmmcall, "0x0f, 0x01, 0xd9", "any")
BYTES(vmload, "0x0f, 0x01, 0xda", "any")
BYTES(vmsave, "0x0f, 0x01, 0xdb", "any")
BYTES(stgi, "0x0f, 0x01, 0xdc", "any")
BYTES(clgi, "0x0f, 0x01, 0xdd", "any")
BYTES(skinit, "0x0f, 0x01, 0xde", "any")
BYTES(invlpga, "0x0f, 0x01, 0xdf", "any")
BYTES(vmcall, "0x0f, 0x01, 0xc1", "any")
BYTES(vmxon, "0xf3, 0x0f, 0xc7, 0x37", "any")
BYTES(vmlaunch, "0x0f, 0x01, 0xc2", "any")
BYTES(xgetbv, "0x0f, 0x01, 0xd0", "any")
BYTES(xsetbv, "0x0f, 0x01, 0xd1", "any")
BYTES(rdtscp, "0x0f, 0x01, 0xf9", "any")
BYTES(performance_counter, "0x0f, 0x33", "any")
BYTES(invd, "0x0f, 0x08", "any")
BYTES(invpcid, "0x66, 0x0f, 0x38, 0x82, 0x07", "any")
BYTES(xsaves, "0x0f, 0xc7, 0x2f", "any")
BYTES(rdseed, "0x48, 0x0f, 0xc7, 0xf8", "any")
BYTES(sixteen_prefixes, "0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x90", "any")
BYTES(lock_of_a_register, "0xf0, 0x90", "any")
BYTES(lock_of_a_load, "0xf0, 0x8b, 0x07", "any")
BYTES(avx, "0xc5, 0xfd, 0x6f, 0x07", "any")
BYTES(avx512, "0x62, 0xf1, 0x7d, 0x48, 0x6f, 0x07", "any")
BYTES(three_d_now, "0x0f, 0x0f, 0x07, 0x9e", "any")
BYTES(femms, "0x0f, 0x0e", "any")
BYTES(enter_32_levels, "0xc8, 0xff, 0xff, 0x1f", "any")
BYTES(enter_large, "0xc8, 0xff, 0xff, 0x00", "any")
BYTES(cmpxchg16b, "0x48, 0x0f, 0xc7, 0x0f", "any")
BYTES(cmpxchg16b_unaligned, "0x48, 0x0f, 0xc7, 0x4f, 0x01", "any")
BYTES(xbegin, "0xc7, 0xf8, 0, 0, 0, 0", "any")
BYTES(cpuid_loop, "0x0f, 0xa2, 0xeb, 0xfc", "lockup")

ATTACK(svm_guest, "any")
{
	void *vmcb = (void *)get_zeroed_page(GFP_KERNEL);

	write_msr(0xc0000080, read_msr(0xc0000080) | 1ULL << 12);
	write_msr(0xc0010117, virt_to_phys((void *)get_zeroed_page(GFP_KERNEL)));
	memset(vmcb, 0xff, PAGE_SIZE);
	asm volatile("vmrun" : : "a" (virt_to_phys(vmcb)) : "memory");
	return alive("left the guest");
}

ATTACK(svm_guest_of_zeros, "any")
{
	void *vmcb = (void *)get_zeroed_page(GFP_KERNEL);

	write_msr(0xc0000080, read_msr(0xc0000080) | 1ULL << 12);
	*(u32 *)(vmcb + 0x10) = 1;
	*(u32 *)(vmcb + 0x58) = 1;
	asm volatile("vmrun" : : "a" (virt_to_phys(vmcb)) : "memory");
	return alive("left the guest");
}

ATTACK(svm_guest_nowhere, "any")
{
	write_msr(0xc0000080, read_msr(0xc0000080) | 1ULL << 12);
	asm volatile("vmload; vmsave; vmrun" : : "a" (0xfffffffff000UL) : "memory");
	return alive("left the guest");
}

ATTACK(svm_guest_like_this_one, "any")
{
	u8 *vmcb = (void *)get_zeroed_page(GFP_KERNEL);
	u64 efer = read_msr(0xc0000080) | 1ULL << 12;

	write_msr(0xc0000080, efer);
	*(u32 *)(vmcb + 0x10) = 1;
	*(u32 *)(vmcb + 0x58) = 1;
	asm volatile("vmsave" : : "a" (virt_to_phys(vmcb)) : "memory");
	*(u16 *)(vmcb + 0x410) = 0x10;
	*(u16 *)(vmcb + 0x412) = 0x29b;
	*(u32 *)(vmcb + 0x414) = ~0;
	*(u64 *)(vmcb + 0x4d0) = efer;
	*(u64 *)(vmcb + 0x548) = READ_CR(4);
	*(u64 *)(vmcb + 0x550) = READ_CR(3);
	*(u64 *)(vmcb + 0x558) = READ_CR(0);
	*(u64 *)(vmcb + 0x570) = 2;
	*(u64 *)(vmcb + 0x578) = (u64)alive;
	asm volatile("mov %%rsp,0x5d8(%1); vmrun" : : "a" (virt_to_phys(vmcb)), "r" (vmcb), "D" ("guest") : "memory");
	return alive("left the guest");
}

ATTACK(global_interrupts_off, "any")
{
	write_msr(0xc0000080, read_msr(0xc0000080) | 1ULL << 12);
	asm volatile("clgi");
	endless();
	return 0;
}

/* -- FPU and the like -- */

static u8 area[4096] __aligned(64);

#define AREA(name, fill, instruction, at, ends)						\
	ATTACK(name, ends)								\
	{										\
		memset(area, fill, sizeof(area));					\
		asm volatile(instruction : : "r" (at), "a" (-1), "d" (-1) : "memory");	\
		return alive(#name);							\
	}

AREA(fxrstor_ones, 0xff, "fxrstor (%0)", area, "any")
AREA(fxrstor_unaligned, 0, "fxrstor (%0)", area + 1, "any")
AREA(fxrstor_nowhere, 0, "fxrstor (%0)", (void *)UNMAPPED, "any")
AREA(fxsave_on_the_stubs, 0, "fxsave (%0)", (void *)STUBS, "any")
AREA(fxsave_on_the_frame, 0, "fxsave (%0)", (void *)FRAME, "any")
AREA(xrstor_ones, 0xff, "xrstor (%0)", area, "any")
AREA(xsave_nowhere, 0, "xsave (%0)", (void *)NOT_CANONICAL, "any")
AREA(xsave_unaligned, 0, "xsave (%0)", area + 8, "any")
AREA(ldmxcsr_ones, 0xff, "ldmxcsr (%0)", area, "any")
AREA(fldenv_ones, 0xff, "fldenv (%0)", area, "any")
AREA(frstor_ones, 0xff, "frstor (%0); fwait; fld1; fadd %%st(1),%%st", area, "any")
AREA(fldt_ones, 0xff, "fldt (%0); fsin; fptan; fyl2x; fscale; fprem; fbstp (%0)", area, "any")

ATTACK(x87_exceptions, "any")
{
	u16 control = 0;

	asm volatile("fninit; fldcw %0; fld1; fldz; fdivrp; fwait" : : "m" (control));
	return alive("divided");
}

ATTACK(x87_exceptions_by_interrupt, "any")
{
	u16 control = 0;

	WRITE_CR(0, READ_CR(0) & ~0x20UL);
	asm volatile("fninit; fldcw %0; fld1; fldz; fdivrp; fwait" : : "m" (control));
	return alive("divided");
}

ATTACK(sse_exceptions, "any")
{
	u32 control = 0;

	asm volatile("ldmxcsr %0; xorps %%xmm0,%%xmm0; divps %%xmm0,%%xmm0" : : "m" (control) : "memory");
	return alive("divided");
}

ATTACK(task_switched, "any")
{
	WRITE_CR(0, READ_CR(0) | 8);
	asm volatile("xorps %xmm0,%xmm0");
	return alive("sse");
}

/* -- stack pointers -- */

#define STACK(name, at, ends)								\
	ATTACK(name, ends)								\
	{										\
		asm volatile("mov %0,%%rsp; push %%rax; call *%1" : : "r" ((unsigned long)(at)), \
			     "r" ((unsigned long)alive), "D" (#name) : "memory");	\
		return 0;								\
	}

STACK(stack_null, 8, "any")
STACK(stack_not_canonical, NOT_CANONICAL, "any")
STACK(stack_at_the_end, ~0UL, "any")
STACK(stack_of_user, USER, "any")
STACK(stack_unmapped, UNMAPPED, "any")
STACK(stack_on_the_stubs, STUBS + 0x400, "any")
STACK(stack_on_the_frame, FRAME + 0x58, "any")
STACK(stack_on_the_frame_s_end, FRAME + 0x1000, "any")
STACK(stack_in_data, area + sizeof(area), "any")
STACK(stack_unaligned, area + sizeof(area) - 3, "any")
STACK(stack_on_own_code, (unsigned long)alive + 64, "any")
STACK(stack_in_struct_pages, (unsigned long)virt_to_page(area) + 512, "any")
