// SPDX-License-Identifier: GPL-2.0-only
/* Signals to kernel threads: those that they ignore, those that queue, signal 0, groups. One part with part=. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/delay.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/sched/signal.h>

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("signals to kernel threads");

static char *part = "ignored";
module_param(part, charp, 0);

#define REALTIME 40

static int takes(void *allowed)
{
	int *signal;

	for (signal = allowed; *signal; signal++)
		allow_signal(*signal);
	while (!kthread_should_stop()) {
		int taken;

		schedule_timeout_interruptible(HZ);
		if (kthread_should_stop())
			break;
		while ((taken = kernel_dequeue_signal()))
			pr_info("took %d\n", taken);
		pr_info("pending %d\n", signal_pending(current));
	}
	return 0;
}

static void send(struct task_struct *task, int signal, int priv)
{
	int result = send_sig(signal, task, priv);

	pr_info("send_sig(%d, task, %d) returned %d\n", signal, priv, result);
}

static void ignored(void)
{
	static int none[] = { 0 };
	struct task_struct *task = kthread_run(takes, none, "ignores");

	msleep(20);
	send(task, SIGHUP, 0);
	send(task, SIGKILL, 1);
	send(task, 64, 1);
	send(task, 65, 1);
	send(task, -1, 1);
	msleep(20);
	pr_info("pending %d\n", signal_pending(task));
	send(task, 0, 0);
	send(task, 0, 1);
	msleep(20);
	kthread_stop(task);
}

static void queued(void)
{
	static int some[] = { SIGUSR1, SIGTERM, SIGSEGV, REALTIME, 0 };
	struct task_struct *task = kthread_run(takes, some, "takes");
	struct kernel_siginfo info;
	int n;

	msleep(20);
	clear_siginfo(&info);
	info.si_signo = REALTIME;
	info.si_code = SI_QUEUE;
	for (n = 0; n < 3; n++) {
		pr_info("send_sig_info() returned %d\n", send_sig_info(REALTIME, &info, task));
		send(task, SIGTERM, n & 1);
	}
	send(task, SIGUSR1, 1);
	send(task, SIGSEGV, 0);
	send(task, SIGUSR2, 1);
	msleep(20);
	kthread_stop(task);
}

static void groups(void)
{
	static int some[] = { SIGUSR1, 0 };
	struct task_struct *task = kthread_run(takes, some, "member");
	struct pid *group;

	msleep(20);
	group = task_pgrp(task);
	pr_info("process group %d, session %d, that of the idle task %d\n", pid_nr(group),
		pid_nr(task_session(task)), group == task_pgrp(&init_task));
	pr_info("kill_pgrp(0) returned %d\n", kill_pgrp(group, 0, 0));
	pr_info("kill_pid(0) returned %d\n", kill_pid(task_pid(task), 0, 1));
	msleep(20);
	pr_info("pending %d\n", signal_pending(task));
	pr_info("kill_pid(SIGUSR1) returned %d\n", kill_pid(task_pid(task), SIGUSR1, 1));
	msleep(20);
	pr_info("kill_pgrp(SIGUSR1) returned %d\n", kill_pgrp(group, SIGUSR1, 1));
	msleep(20);
	kthread_stop(task);
}

static int __init thread_signals_init(void)
{
	if (!strcmp(part, "ignored"))
		ignored();
	else if (!strcmp(part, "queued"))
		queued();
	else
		groups();
	return 0;
}

static void __exit thread_signals_exit(void)
{
}

module_init(thread_signals_init);
module_exit(thread_signals_exit);
