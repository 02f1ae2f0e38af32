// SPDX-License-Identifier: GPL-2.0-only
/* Workqueues: order, delays, flushing, cancelling. Run one part with part=. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/delay.h>
#include <linux/module.h>
#include <linux/workqueue.h>

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("workqueues");

static char *part = "order";
module_param(part, charp, 0);

struct job {
	struct work_struct work;
	int number;
	int ms;
};

static struct job jobs[4];
static struct workqueue_struct *wq;
static struct delayed_work late;
static int again;

static void run(struct work_struct *work)
{
	struct job *job = container_of(work, struct job, work);

	pr_info("job %d begins\n", job->number);
	if (job->ms)
		msleep(job->ms);
	pr_info("job %d ends\n", job->number);
}

static void run_late(struct work_struct *work)
{
	pr_info("late work runs\n");
	if (again-- > 0)
		pr_info("late work queues itself: %d\n",
			queue_delayed_work(wq, to_delayed_work(work), msecs_to_jiffies(100)));
}

/* Jobs on an ordered queue run one by one in the order queued; a queued work is not queued twice. */
static void order(void)
{
	int i;

	for (i = 0; i < 4; i++)
		pr_info("queue job %d: %d\n", i, queue_work(wq, &jobs[i].work));
	pr_info("queue job 3 again: %d\n", queue_work(wq, &jobs[3].work));
	pr_info("job 3 pending: %d\n", work_pending(&jobs[3].work));
	flush_workqueue(wq);
	pr_info("flushed; job 3 pending: %d\n", work_pending(&jobs[3].work));
}

static void flush(void)
{
	jobs[0].ms = 200;
	queue_work(wq, &jobs[0].work);
	queue_work(wq, &jobs[1].work);
	pr_info("flush_work(job 0) returned %d\n", flush_work(&jobs[0].work));
	flush_work(&jobs[1].work);
	pr_info("flush_work(job 1) of an idle work returned %d\n", flush_work(&jobs[1].work));
}

static void cancel(void)
{
	jobs[0].ms = 200;
	queue_work(wq, &jobs[0].work);
	queue_work(wq, &jobs[1].work);
	msleep(50);
	pr_info("cancel_work_sync(pending job 1) returned %d\n", cancel_work_sync(&jobs[1].work));
	pr_info("cancel_work_sync(running job 0) returned %d\n", cancel_work_sync(&jobs[0].work));
	pr_info("cancel_work_sync(idle job 2) returned %d\n", cancel_work_sync(&jobs[2].work));
}

static void delayed(void)
{
	unsigned long start = jiffies;

	pr_info("queue: %d\n", queue_delayed_work(wq, &late, msecs_to_jiffies(500)));
	pr_info("queue again: %d\n", queue_delayed_work(wq, &late, msecs_to_jiffies(10)));
	pr_info("pending: %d\n", delayed_work_pending(&late));
	pr_info("flush_delayed_work() returned %d\n", flush_delayed_work(&late));
	pr_info("flushed early: %d\n", time_before(jiffies, start + msecs_to_jiffies(400)));

	queue_delayed_work(wq, &late, msecs_to_jiffies(500));
	pr_info("mod_delayed_work() of a pending one returned %d\n",
		mod_delayed_work(wq, &late, msecs_to_jiffies(50)));
	msleep(200);
	pr_info("pending after 200 ms: %d\n", delayed_work_pending(&late));
	pr_info("mod_delayed_work() of an idle one returned %d\n",
		mod_delayed_work(wq, &late, msecs_to_jiffies(500)));
	pr_info("cancel_delayed_work_sync() returned %d\n", cancel_delayed_work_sync(&late));
	pr_info("cancel_delayed_work_sync() returned %d\n", cancel_delayed_work_sync(&late));

	again = 2;
	queue_delayed_work(wq, &late, msecs_to_jiffies(100));
	msleep(1000);
}

/* Works of the system's queue run side by side. */
static void concurrent(void)
{
	jobs[0].ms = 300;
	jobs[1].ms = 200;
	jobs[2].ms = 100;
	schedule_work(&jobs[0].work);
	schedule_work(&jobs[1].work);
	schedule_work(&jobs[2].work);
	msleep(500);
}

static int __init work_init(void)
{
	int i;

	wq = create_singlethread_workqueue("cases");
	if (!wq)
		return -ENOMEM;
	for (i = 0; i < 4; i++) {
		INIT_WORK(&jobs[i].work, run);
		jobs[i].number = i;
	}
	INIT_DELAYED_WORK(&late, run_late);
	if (!strcmp(part, "order"))
		order();
	else if (!strcmp(part, "flush"))
		flush();
	else if (!strcmp(part, "cancel"))
		cancel();
	else if (!strcmp(part, "delayed"))
		delayed();
	else if (!strcmp(part, "concurrent"))
		concurrent();
	else if (!strcmp(part, "pending_at_exit"))
		queue_work(wq, &jobs[0].work), queue_work(wq, &jobs[1].work);
	return 0;
}

static void __exit work_exit(void)
{
	if (!strcmp(part, "pending_at_exit"))
		queue_work(wq, &jobs[2].work);
	destroy_workqueue(wq);
	pr_info("destroyed\n");
}

module_init(work_init);
module_exit(work_exit);
