// SPDX-License-Identifier: GPL-2.0-only
/*
 * K2: a kernel thread that sends SIGUSR1 twice to the thread whose pid
 * signal_handling exports. Loaded by signal_handling, on demand.
 */
#include <linux/kernel.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/pid.h>
#include <linux/sched/signal.h>		/* send_sig_info() */

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("sending signal from 1 kthread to another"
		   " and using default signal handler");

/* A little more than K1's turn: K1's lines come first, whatever the timers do. */
#define TURN_MS		1100
#define SIGNALS		2

extern pid_t kthread_pid;		/* signal_handling's */

static struct task_struct *k2;
static int signals_sent;

static int send_one(pid_t nr)
{
	struct kernel_siginfo info;
	struct task_struct *target;
	struct pid *pid = find_get_pid(nr);
	int ret = -ESRCH;

	clear_siginfo(&info);
	info.si_signo = SIGUSR1;
	info.si_code = SI_KERNEL;
	info.si_int = signals_sent;

	target = get_pid_task(pid, PIDTYPE_PID);
	if (target) {
		ret = send_sig_info(SIGUSR1, &info, target);
		put_task_struct(target);
	}
	put_pid(pid);
	return ret;
}

static int send_signal_to_task(void *arg)
{
	int ret;

	while (!kthread_should_stop()) {
		if (kthread_pid && signals_sent < SIGNALS) {
			printk("%s : sending signal to process with pid %u...\n",
			       current->comm, kthread_pid);
			ret = send_one(kthread_pid);
			if (ret)
				printk("%s : Error sending signal to pid %d, status %d\n",
				       current->comm, kthread_pid, ret);
			signals_sent++;
		}
		set_current_state(TASK_INTERRUPTIBLE);
		schedule_timeout(msecs_to_jiffies(TURN_MS));
	}
	printk("%s : exiting \"%s\"\n", current->comm, __func__);
	return 0;
}

static int __init startup(void)
{
	printk(KERN_ALERT "send_signal module is starting\n");
	k2 = kthread_run(send_signal_to_task, NULL, "K2");
	return PTR_ERR_OR_ZERO(k2);
}

static void __exit cleanup(void)
{
	printk("cleaning module \n");
	kthread_stop(k2);
	printk("stopped kernel thread 2 \n");
}

module_init(startup);
module_exit(cleanup);
