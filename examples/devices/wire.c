// SPDX-License-Identifier: GPL-2.0-only
/* wire0: a network device. Whoever is at the other end answers ARP requests, pings and UDP for any address. */
#include <linux/etherdevice.h>
#include <linux/icmp.h>
#include <linux/if_arp.h>
#include <linux/ip.h>
#include <linux/module.h>
#include <linux/netdevice.h>
#include <linux/udp.h>

static struct net_device *wire;
static struct napi_struct napi;
static struct sk_buff_head answers;

static bool answer_arp(struct sk_buff *skb)
{
	struct arphdr *arp = (void *)(skb->data + ETH_HLEN);
	u8 *sender = (u8 *)(arp + 1), *target = sender + ETH_ALEN + 4, address[4];

	if (skb->len < ETH_HLEN + sizeof(*arp) + 20 || arp->ar_op != htons(ARPOP_REQUEST))
		return false;
	arp->ar_op = htons(ARPOP_REPLY);
	memcpy(address, target + ETH_ALEN, 4);
	memcpy(target, sender, ETH_ALEN + 4);
	memset(sender, 2, ETH_ALEN);
	memcpy(sender + ETH_ALEN, address, 4);
	return true;
}

static bool answer_ip(struct sk_buff *skb)
{
	struct iphdr *ip = (void *)(skb->data + ETH_HLEN);
	struct icmphdr *icmp;
	struct udphdr *udp;

	if (skb->len < ETH_HLEN + sizeof(*ip) + 8)
		return false;
	swap(ip->saddr, ip->daddr);
	switch (ip->protocol) {
	case IPPROTO_ICMP:
		icmp = (void *)ip + ip->ihl * 4;
		if (icmp->type != ICMP_ECHO)
			return false;
		icmp->type = ICMP_ECHOREPLY;
		csum_replace2(&icmp->checksum, htons(ICMP_ECHO << 8), htons(ICMP_ECHOREPLY << 8));
		return true;
	case IPPROTO_UDP:
		udp = (void *)ip + ip->ihl * 4;
		swap(udp->source, udp->dest);
		udp->check = 0;
		return true;
	}
	return false;
}

static netdev_tx_t wire_xmit(struct sk_buff *skb, struct net_device *dev)
{
	struct sk_buff *copy = skb_copy(skb, GFP_ATOMIC);
	struct ethhdr *eth;
	bool answered;

	dev->stats.tx_packets++;
	dev->stats.tx_bytes += skb->len;
	dev_kfree_skb(skb);
	if (!copy)
		return NETDEV_TX_OK;
	eth = (void *)copy->data;
	answered = eth->h_proto == htons(ETH_P_ARP) ? answer_arp(copy) :
		   eth->h_proto == htons(ETH_P_IP) ? answer_ip(copy) : false;
	if (!answered) {
		dev_kfree_skb(copy);
		return NETDEV_TX_OK;
	}
	memcpy(eth->h_dest, eth->h_source, ETH_ALEN);
	memset(eth->h_source, 2, ETH_ALEN);
	copy->ip_summed = CHECKSUM_UNNECESSARY;
	skb_queue_tail(&answers, copy);
	napi_schedule(&napi);
	return NETDEV_TX_OK;
}

static int wire_poll(struct napi_struct *napi, int budget)
{
	struct sk_buff *skb;
	int done = 0;

	while (done < budget && (skb = skb_dequeue(&answers))) {
		wire->stats.rx_packets++;
		wire->stats.rx_bytes += skb->len;
		skb->protocol = eth_type_trans(skb, wire);
		napi_gro_receive(napi, skb);
		done++;
	}
	if (done < budget)
		napi_complete_done(napi, done);
	return done;
}

static int wire_open(struct net_device *dev)
{
	napi_enable(&napi);
	netif_start_queue(dev);
	netdev_info(dev, "up\n");
	return 0;
}

static int wire_stop(struct net_device *dev)
{
	netif_stop_queue(dev);
	napi_disable(&napi);
	skb_queue_purge(&answers);
	netdev_info(dev, "down\n");
	return 0;
}

static const struct net_device_ops wire_ops = {
	.ndo_open = wire_open,
	.ndo_stop = wire_stop,
	.ndo_start_xmit = wire_xmit,
	.ndo_set_mac_address = eth_mac_addr,
	.ndo_validate_addr = eth_validate_addr,
};

static int __init wire_init(void)
{
	static const u8 address[ETH_ALEN] = { 2, 0, 0, 0, 0, 1 };
	int ret;

	skb_queue_head_init(&answers);
	wire = alloc_netdev(0, "wire%d", NET_NAME_UNKNOWN, ether_setup);
	if (!wire)
		return -ENOMEM;
	wire->netdev_ops = &wire_ops;
	eth_hw_addr_set(wire, address);
	netif_napi_add(wire, &napi, wire_poll);
	ret = register_netdev(wire);
	if (ret)
		free_netdev(wire);
	return ret;
}

static void __exit wire_exit(void)
{
	unregister_netdev(wire);
	free_netdev(wire);
}

module_init(wire_init);
module_exit(wire_exit);
MODULE_DESCRIPTION("A network device");
MODULE_LICENSE("GPL");
