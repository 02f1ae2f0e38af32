// SPDX-License-Identifier: GPL-2.0-only
/* request_module() from each context that a module's code can run in. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/kmod.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/notifier.h>
#include <linux/sched/task.h>
#include <linux/spinlock.h>
#include <linux/timer.h>
#include <linux/umh.h>
#include <linux/workqueue.h>

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("requests a module from a thread, a work, a notifier, a callback, its exit");

static char *from = "thread";
module_param(from, charp, 0);
static char *name = "ok_dep";
module_param(name, charp, 0644);

static void request(const char *where)
{
	int ret = request_module("%s", name);

	pr_info("request_module(\"%s\") from the %s returned %d\n", name, where, ret);
}

static int thread(void *data)
{
	request("thread");
	return 0;
}

static void work(struct work_struct *item)
{
	request("work");
}

static DECLARE_WORK(item, work);
static DECLARE_DELAYED_WORK(delayed, work);

static int changed(struct notifier_block *block, unsigned long state, void *data)
{
	struct module *mod = data;

	pr_info("%s: state %lu, try_module_get() %d\n", mod->name, state, try_module_get(mod));
	if (state != MODULE_STATE_GOING)
		module_put(mod);
	if (!strcmp(mod->name, name))
		return NOTIFY_DONE;
	request("notifier");
	return NOTIFY_DONE;
}

static struct notifier_block block = { .notifier_call = changed };

static int before(struct subprocess_info *info, struct cred *new)
{
	request("init callback");
	return 0;
}

static void after(struct subprocess_info *info)
{
	request("cleanup callback");
}

static void helper(void)
{
	static char *argv[] = { "/sbin/helper", NULL };
	static char *envp[] = { "PATH=/sbin:/bin", NULL };
	struct subprocess_info *info;

	info = call_usermodehelper_setup(argv[0], argv, envp, GFP_KERNEL, before, after, NULL);
	if (info)
		pr_info("the helper: %d\n", call_usermodehelper_exec(info, UMH_WAIT_PROC));
}

static void queued(const char *label, unsigned int flags, int max_active)
{
	struct workqueue_struct *wq = alloc_workqueue("%s", flags, max_active, label);

	if (!wq)
		return;
	queue_work(wq, &item);
	destroy_workqueue(wq);
}

static void threaded(void)
{
	struct task_struct *task = kthread_create(thread, NULL, "requester");

	if (IS_ERR(task))
		return;
	get_task_struct(task);
	wake_up_process(task);
	pr_info("kthread_stop() returned %d\n", kthread_stop(task));
	put_task_struct(task);
}

static int __init contexts_init(void)
{
	if (!strcmp(from, "thread"))
		threaded();
	else if (!strcmp(from, "system_wq"))
		schedule_work(&item), flush_work(&item);
	else if (!strcmp(from, "unbound"))
		queue_work(system_unbound_wq, &item), flush_work(&item);
	else if (!strcmp(from, "ordered"))
		queued("ordered", WQ_UNBOUND, 1);
	else if (!strcmp(from, "reclaim"))
		queued("reclaim", WQ_MEM_RECLAIM, 0);
	else if (!strcmp(from, "delayed"))
		schedule_delayed_work(&delayed, HZ / 10), flush_delayed_work(&delayed);
	else if (!strcmp(from, "notifier"))
		return register_module_notifier(&block);
	else if (!strcmp(from, "helper"))
		helper();
	return 0;
}

static void __exit contexts_exit(void)
{
	if (!strcmp(from, "notifier"))
		unregister_module_notifier(&block);
	if (!strcmp(from, "exit"))
		request("exit");
}

module_init(contexts_init);
module_exit(contexts_exit);
