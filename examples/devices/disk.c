// SPDX-License-Identifier: GPL-2.0-only
/* /dev/disk0: a block device of 8 MiB of memory, by blk-mq, with a cache that is flushed. */
#include <linux/blk-mq.h>
#include <linux/blkdev.h>
#include <linux/hdreg.h>
#include <linux/module.h>
#include <linux/version.h>
#include <linux/vmalloc.h>

#define SECTORS (8 << 11)

static char *data;
static int major, flushes;
static struct gendisk *disk;
static struct blk_mq_tag_set tags;

module_param(flushes, int, 0444);
MODULE_PARM_DESC(flushes, "how many requests to flush there were");

static blk_status_t disk_queue_rq(struct blk_mq_hw_ctx *hctx, const struct blk_mq_queue_data *queued)
{
	struct request *request = queued->rq;
	size_t at = blk_rq_pos(request) << SECTOR_SHIFT;
	struct req_iterator iter;
	struct bio_vec vec;

	blk_mq_start_request(request);
	switch (req_op(request)) {
	case REQ_OP_FLUSH:
		flushes++;
		break;
	case REQ_OP_READ:
	case REQ_OP_WRITE:
		rq_for_each_segment(vec, request, iter) {
			if (rq_data_dir(request) == WRITE)
				memcpy_from_bvec(data + at, &vec);
			else
				memcpy_to_bvec(&vec, data + at);
			at += vec.bv_len;
		}
		break;
	default:
		blk_mq_end_request(request, BLK_STS_NOTSUPP);
		return BLK_STS_OK;
	}
	blk_mq_end_request(request, BLK_STS_OK);
	return BLK_STS_OK;
}

static const struct blk_mq_ops disk_mq_ops = { .queue_rq = disk_queue_rq };

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 18, 0)
static int disk_getgeo(struct gendisk *gd, struct hd_geometry *geometry)
#else
static int disk_getgeo(struct block_device *bdev, struct hd_geometry *geometry)
#endif
{
	geometry->heads = 4;
	geometry->sectors = 16;
	geometry->cylinders = SECTORS / 64;
	return 0;
}

static const struct block_device_operations disk_fops = { .owner = THIS_MODULE, .getgeo = disk_getgeo };

static int __init disk_init(void)
{
	int ret = -ENOMEM;
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 9, 0)
	struct queue_limits limits = { .features = BLK_FEAT_WRITE_CACHE };
#endif

	data = vzalloc(SECTORS << SECTOR_SHIFT);
	if (!data)
		return ret;
	ret = major = register_blkdev(0, "disk");
	if (ret < 0)
		goto free;
	tags.ops = &disk_mq_ops;
	tags.nr_hw_queues = 1;
	tags.queue_depth = 16;
	tags.numa_node = NUMA_NO_NODE;
	tags.flags = BLK_MQ_F_BLOCKING;
	ret = blk_mq_alloc_tag_set(&tags);
	if (ret)
		goto unregister;
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 9, 0)
	disk = blk_mq_alloc_disk(&tags, &limits, NULL);
#else
	disk = blk_mq_alloc_disk(&tags, NULL);
#endif
	ret = PTR_ERR_OR_ZERO(disk);
	if (ret)
		goto tags;
	disk->major = major;
	disk->minors = 4;
	disk->fops = &disk_fops;
	strcpy(disk->disk_name, "disk0");
	set_capacity(disk, SECTORS);
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 9, 0)
	blk_queue_write_cache(disk->queue, true, false);
#endif
	ret = add_disk(disk);
	if (!ret)
		return 0;
	put_disk(disk);
tags:
	blk_mq_free_tag_set(&tags);
unregister:
	unregister_blkdev(major, "disk");
free:
	vfree(data);
	return ret;
}

static void __exit disk_exit(void)
{
	del_gendisk(disk);
	put_disk(disk);
	blk_mq_free_tag_set(&tags);
	unregister_blkdev(major, "disk");
	vfree(data);
	pr_info("disk: was %sflushed\n", flushes ? "" : "never ");
}

module_init(disk_init);
module_exit(disk_exit);
MODULE_DESCRIPTION("A disk of memory");
MODULE_LICENSE("GPL");
