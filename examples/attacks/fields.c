// SPDX-License-Identifier: GPL-2.0-only
/* The fields of the module's own struct module, one at a time: what reports, reading and unloading it believe. */
#include "attack.h"

#include <linux/kmod.h>

static struct module *self = THIS_MODULE;
static u8 room[4096] __aligned(4096);
static struct list_head circle[2] = { { &circle[1], &circle[1] }, { &circle[0], &circle[0] } };

static noinline int warned(void)
{
	WARN(1, "fields");
	return 0;
}

/* A fault that only an entry of the exception table could mend. */
static noinline int faulted(void)
{
	return *(volatile int *)UNKNOWN(UNMAPPED);
}

static int unloaded(void) { return 0; }

#define FIELD(name, after, ...) ATTACK(name, "any") { __VA_ARGS__; return after(); }

#define POINTER(name, member, after) FIELD(name##_unmapped, after, self->member = (void *)UNMAPPED)
#define NUMBER(name, member, after) FIELD(name##_most, after, self->member = 0x7fffffff)

POINTER(extable, extable, faulted)
NUMBER(exentries, num_exentries, faulted)
FIELD(extable_of_everything, faulted, self->extable = (void *)room, self->num_exentries = sizeof(room))
POINTER(bugs, bug_table, warned)
NUMBER(bugs, num_bugs, warned)
FIELD(bugs_in_a_circle, warned, self->bug_list = circle[0])
FIELD(bugs_of_itself, warned, self->bug_list.next = &self->bug_list)
POINTER(orcs, arch.orc_unwind, warned)
POINTER(orcs_ip, arch.orc_unwind_ip, warned)
FIELD(orcs_most, warned, self->arch.num_orcs = 0x7fffffff)
POINTER(kallsyms, kallsyms, warned)
FIELD(symbols_most, warned, self->kallsyms->num_symtab = 0x7fffffff)
FIELD(symbols_unmapped, warned, self->kallsyms->symtab = (void *)UNMAPPED)
FIELD(symbols_names, warned, self->kallsyms->strtab = (void *)NOT_CANONICAL)
FIELD(symbols_names_without_end, warned, memset(room, 'x', sizeof(room)); self->kallsyms->strtab = (void *)room)
FIELD(symbols_types, warned, self->kallsyms->typetab = (void *)UNMAPPED)
POINTER(parameters, kp, unloaded)
NUMBER(parameters, num_kp, unloaded)
POINTER(arguments, args, unloaded)
POINTER(exports, syms, unloaded)
NUMBER(exports, num_syms, unloaded)
NUMBER(exports_gpl, num_gpl_syms, unloaded)
POINTER(sections, sect_attrs, unloaded)
POINTER(notes, notes_attrs, unloaded)
POINTER(attributes, modinfo_attrs, unloaded)
POINTER(parameter_attributes, mkobj.mp, unloaded)
POINTER(object_of_drivers, mkobj.drivers_dir, unloaded)
POINTER(object_parent, mkobj.kobj.parent, unloaded)
POINTER(object_set, mkobj.kobj.kset, unloaded)
POINTER(object_type, mkobj.kobj.ktype, unloaded)
POINTER(object_directory, mkobj.kobj.sd, unloaded)
POINTER(object_name, mkobj.kobj.name, unloaded)
POINTER(holders, holders_dir, unloaded)
FIELD(object_counted_down, unloaded, refcount_set(&self->mkobj.kobj.kref.refcount, 0))
FIELD(users_in_a_circle, unloaded, self->source_list = circle[0], self->target_list = circle[1])
FIELD(users_unmapped, unloaded, self->target_list.next = (void *)UNMAPPED)
POINTER(percpu, percpu, unloaded)
NUMBER(percpu_size, percpu_size, unloaded)
POINTER(core, core_layout.base, warned)
NUMBER(core_size, core_layout.size, warned)
FIELD(core_text_size, warned, self->core_layout.text_size = -1)
FIELD(core_of_the_kernel, warned, self->core_layout.base = (void *)0xffffffff81000000, self->core_layout.size = 0x2000000)
POINTER(jumps, jump_entries, unloaded)
NUMBER(jumps, num_jump_entries, unloaded)
POINTER(calls, static_call_sites, unloaded)
NUMBER(calls, num_static_call_sites, unloaded)
POINTER(tracepoints, tracepoints_ptrs, unloaded)
NUMBER(tracepoints, num_tracepoints, unloaded)
POINTER(events, trace_events, unloaded)
NUMBER(events, num_trace_events, unloaded)
POINTER(types, btf_data, unloaded)
NUMBER(types_size, btf_data_size, unloaded)
POINTER(places_of_ftrace, ftrace_callsites, unloaded)
NUMBER(places_of_ftrace, num_ftrace_callsites, unloaded)
POINTER(exit_function, exit, unloaded)
POINTER(version, version, unloaded)
FIELD(name_of_another, unloaded, strscpy(self->name, "callbacks", sizeof(self->name)))
FIELD(name_of_lines, unloaded, strscpy(self->name, "../../x\n\033[2J", sizeof(self->name)))
FIELD(state_unformed, warned, self->state = MODULE_STATE_UNFORMED)
FIELD(state_that_is_none, unloaded, self->state = 77)
FIELD(taints_all, warned, self->taints = -1UL)
FIELD(requests_itself_without_a_name, unloaded, self->name[0] = 0; request_module("fields"))
