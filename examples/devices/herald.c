// SPDX-License-Identifier: GPL-2.0-only
/* A family of generic netlink, "herald": it says back what it is sent, tells a group of it, and lists numbers. */
#include <linux/module.h>
#include <net/genetlink.h>

enum { SAY = 1, LIST };
enum { TEXT = 1, NUMBER };

static struct genl_family family;

static int say(struct sk_buff *skb, struct genl_info *info)
{
	struct sk_buff *answer, *news;
	void *header;

	if (!info->attrs[TEXT])
		return -EINVAL;
	answer = genlmsg_new(NLMSG_DEFAULT_SIZE, GFP_KERNEL);
	if (!answer)
		return -ENOMEM;
	header = genlmsg_put_reply(answer, info, &family, 0, SAY);
	if (!header || nla_put_string(answer, TEXT, nla_data(info->attrs[TEXT])) ||
	    nla_put_u32(answer, NUMBER, nla_len(info->attrs[TEXT]))) {
		nlmsg_free(answer);
		return -EMSGSIZE;
	}
	genlmsg_end(answer, header);
	news = skb_copy(answer, GFP_KERNEL);
	if (news)
		genlmsg_multicast(&family, news, info->snd_portid, 0, GFP_KERNEL);
	return genlmsg_reply(answer, info);
}

static int list(struct sk_buff *skb, struct netlink_callback *cb)
{
	void *header;

	for (; cb->args[0] < 1000; cb->args[0]++) {
		header = genlmsg_put(skb, NETLINK_CB(cb->skb).portid, cb->nlh->nlmsg_seq, &family, NLM_F_MULTI, LIST);
		if (!header)
			break;
		if (nla_put_u32(skb, NUMBER, cb->args[0])) {
			genlmsg_cancel(skb, header);
			break;
		}
		genlmsg_end(skb, header);
	}
	return skb->len;
}

static const struct nla_policy policy[] = { [TEXT] = { .type = NLA_NUL_STRING, .len = 40 }, [NUMBER] = { .type = NLA_U32 } };

static const struct genl_ops ops[] = {
	{ .cmd = SAY, .doit = say, .flags = GENL_ADMIN_PERM },
	{ .cmd = LIST, .dumpit = list },
};

static const struct genl_multicast_group groups[] = { { .name = "news" } };

static struct genl_family family = {
	.name = "herald",
	.version = 1,
	.maxattr = NUMBER,
	.policy = policy,
	.module = THIS_MODULE,
	.ops = ops,
	.n_ops = ARRAY_SIZE(ops),
	.resv_start_op = LIST + 1,
	.mcgrps = groups,
	.n_mcgrps = ARRAY_SIZE(groups),
};

static int __init herald_init(void)
{
	return genl_register_family(&family);
}

static void __exit herald_exit(void)
{
	genl_unregister_family(&family);
}

module_init(herald_init);
module_exit(herald_exit);
MODULE_DESCRIPTION("A family of generic netlink");
MODULE_LICENSE("GPL");
