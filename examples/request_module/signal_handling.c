// SPDX-License-Identifier: GPL-2.0-only
/*
 * K1: a kernel thread that loads another module with request_module() and
 * then receives the signals which that module's thread sends to it.
 */
#include <linux/kernel.h>
#include <linux/kmod.h>			/* request_module() */
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/sched/signal.h>		/* allow_signal(), flush_signals() */

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("dynamically loading module through kmod subsystem and "
		   "receiving signal from another module");

#define TURN_MS		1000
#define LAST_VALUE	10

/* Whom send_signal is to signal; 0 while K1 is not ready. */
pid_t kthread_pid;
EXPORT_SYMBOL(kthread_pid);

static struct task_struct *k1;
static int val;				/* signals received so far */
static int flag;			/* set when val has reached LAST_VALUE */

static int inc_func(void *arg)
{
	int ret;

	printk("%s : pid of current thread %u\n", current->comm, current->pid);

	/*
	 * A kernel thread ignores every signal it has not asked for. This comes
	 * before request_module(), because K2 may send while we still wait there.
	 */
	allow_signal(SIGUSR1);
	kthread_pid = current->pid;

	ret = request_module("send_signal");
	if (ret != 0)
		printk("%s : unable to load module, Status=%d\n", current->comm, ret);

	while (!kthread_should_stop()) {
		set_current_state(TASK_INTERRUPTIBLE);
		schedule_timeout(msecs_to_jiffies(TURN_MS));

		if (signal_pending(current)) {
			printk("%s : signal is pending****\n", current->comm);
			val++;
			flush_signals(current);
		}

		if (val <= LAST_VALUE && !flag) {
			printk("%s : current value is %d\n", current->comm, val);
			if (val == LAST_VALUE) {
				printk("%s : setting flag\n", current->comm);
				flag = 1;
			}
		}
	}
	printk("%s : out of while loop, exiting \"%s\"\n", current->comm, __func__);
	return 0;
}

static int __init startup(void)
{
	k1 = kthread_run(inc_func, NULL, "K1");
	return PTR_ERR_OR_ZERO(k1);
}

static void __exit cleanup(void)
{
	printk("cleaning module \n");
	kthread_stop(k1);
	printk("stopped kernel thread 1 \n");
}

module_init(startup);
module_exit(cleanup);
