/* SPDX-License-Identifier: GPL-2.0-only */
/* The trace event of marks.c. */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM marks

#if !defined(MARKS_H) || defined(TRACE_HEADER_MULTI_READ)
#define MARKS_H

#include <linux/tracepoint.h>
#include <linux/version.h>

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 10, 0)
#define assign_text(text) __assign_str(text, text)
#else
#define assign_text(text) __assign_str(text)
#endif

TRACE_EVENT(mark_made,
	TP_PROTO(int number, const char *text),
	TP_ARGS(number, text),
	TP_STRUCT__entry(
		__field(int, number)
		__string(text, text)
	),
	TP_fast_assign(
		__entry->number = number;
		assign_text(text);
	),
	TP_printk("number=%d text=%s %s", __entry->number, __get_str(text),
		  __print_flags(__entry->number, "|", { 1, "ONE" }, { 2, "TWO" }))
);

#endif

#undef TRACE_INCLUDE_PATH
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_PATH .
#define TRACE_INCLUDE_FILE marks
#include <trace/define_trace.h>
