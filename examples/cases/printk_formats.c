// SPDX-License-Identifier: GPL-2.0-only
/* Every conversion of the kernel's vsnprintf(), after Documentation/core-api/printk-formats.rst. */
#define pr_fmt(fmt) fmt

#include <linux/bitmap.h>
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <linux/ioport.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/netdevice.h>
#include <linux/printk.h>
#include <linux/rtc.h>
#include <linux/string.h>
#include <linux/time64.h>
#include <linux/uuid.h>
#include <net/addrconf.h>

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("printk() formats");

static bool bad;			/* the wrong formats too: the kernel warns of one */
module_param(bad, bool, 0);

#define SHOW(fmt, ...) pr_info("%s -> [" fmt "]\n", fmt, ##__VA_ARGS__)

static int answer = 42;

static noinline void numbers(void)
{
	SHOW("%d %d %d", 0, -1, 2147483647);
	SHOW("%i", -2147483647 - 1);
	SHOW("%u", 4294967295u);
	SHOW("%x %X", 0xdeadbeef, 0xdeadbeef);
	SHOW("%#x %#X %#o", 255, 255, 8);
	SHOW("%o", 511);
	SHOW("%08lx", 0x1234abcdUL);
	SHOW("%lld", -9223372036854775807LL - 1);
	SHOW("%llu", 18446744073709551615ULL);
	SHOW("%llx", 0x123456789abcdefULL);
	SHOW("%Lx %Lu", 0xfedULL, 7ULL);
	SHOW("%zu %zd %zx", (size_t)12, (ssize_t)-12, (size_t)255);
	SHOW("%td", (ptrdiff_t)-3);
	SHOW("%hd %hu", (short)-2, (unsigned short)65535);
	SHOW("%hhd %hhu %hhx", (signed char)-1, (unsigned char)200, (unsigned char)0xab);
	SHOW("%5d|%-5d|%05d", 42, 42, 42);
	SHOW("%+d|% d|%+d", 42, 42, -42);
	SHOW("%-8d|", 7);
	SHOW("%08d|%-08d|", -7, -7);
	SHOW("%.5d|%8.5d|%-8.5d|", 42, 42, 42);
	SHOW("%.0d|%.0x", 0, 0);
	SHOW("%*d|%-*d|", 6, 42, 6, 42);
	SHOW("%*d|", -6, 42);
	SHOW("%.*d|", 4, 42);
	SHOW("%#010x|%#-10x|", 255, 255);
	SHOW("%#x", 0);
	SHOW("%#018llx", 0x42ULL);
	SHOW("%c%c%c", 'a', '%', 'z');
	SHOW("%3c|%-3c|", 'a', 'b');
	SHOW("100%%");
}

static noinline void strings(void)
{
	static const char text[] = "hello world";

	SHOW("%s", text);
	SHOW("%20s|%-20s|", text, text);
	SHOW("%.5s|%10.5s|%-10.5s|", text, text, text);
	SHOW("%.*s|", 3, text);
	SHOW("%.0s|", text);
	SHOW("%s", (char *)NULL);
	SHOW("%.3s", (char *)NULL);
	SHOW("%s", "");
	SHOW("%s", (char *)16);
	SHOW("%s", (char *)ERR_PTR(-ENOENT));
	SHOW("%pE", "tab\there");
	SHOW("%*pE", 6, "ab\n\x01" "cd");
	SHOW("%*pEhp", 4, "ab\n\x01");
	SHOW("%*pEn", 5, "ab \n\\");
}

static noinline void pointers(void)
{
	u8 *null = NULL;

	SHOW("%p", null);
	SHOW("%p", ERR_PTR(-EINVAL));
	SHOW("%p", &answer);
	SHOW("%20p|", null);
	SHOW("%px", (void *)0x1234);
	SHOW("%px", (void *)0xffff);
	SHOW("%pK", null);
	SHOW("%pe %pe", ERR_PTR(-ENOENT), ERR_PTR(-EPROBE_DEFER));
	SHOW("%pe", ERR_PTR(-4094));
	SHOW("%pe", null);
	SHOW("%10pe|%-10pe|", ERR_PTR(-EIO), ERR_PTR(-EIO));
	SHOW("%pS", strings);
	SHOW("%ps", strings);
	SHOW("%pS", (char *)strings + 4);
	SHOW("%pB", (char *)strings + 4);
	SHOW("%ps", &answer);
	SHOW("%pS", (void *)0x10);
	SHOW("%ps %ps", printk_get_level, snprintf);
	SHOW("%pSR", strings);
	SHOW("%pf", strings);
}

static noinline void addresses(void)
{
	static const u8 mac[] = { 0x00, 0x1a, 0x2b, 0xcd, 0xef, 0x09 };
	static const u8 v4[] = { 192, 168, 0, 1 };
	static const struct in6_addr v6 = { .s6_addr = { 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1 } };
	static const struct in6_addr mapped = { .s6_addr = { [10] = 0xff, 0xff, 10, 0, 0, 1 } };
	static const struct in6_addr any6;
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_port = htons(80) };
	struct sockaddr_in6 sin6 = { .sin6_family = AF_INET6, .sin6_port = htons(443), .sin6_addr = v6,
				     .sin6_scope_id = 3 };

	memcpy(&sin.sin_addr, v4, 4);
	SHOW("%pM", mac);
	SHOW("%pMR %pMF %pm %pmR", mac, mac, mac, mac);
	SHOW("%pI4 %pi4", v4, v4);
	SHOW("%pI4h %pI4n %pI4b %pI4l", v4, v4, v4, v4);
	SHOW("%pI6 %pi6", &v6, &v6);
	SHOW("%pI6c", &v6);
	SHOW("%pI6c %pI6c", &mapped, &any6);
	SHOW("%pIS %pIS", &sin, &sin6);
	SHOW("%pISp %pISpc", &sin, &sin6);
	SHOW("%pISpfsc", &sin6);
	SHOW("%20pI4|%-20pI4|", v4, v4);
}

static noinline void bytes(void)
{
	static const u8 data[] = { 0x00, 0x01, 0x7f, 0x80, 0xff, 0xde, 0xad, 0xbe };
	static const guid_t guid = GUID_INIT(0x00112233, 0x4455, 0x6677, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff);
	static const uuid_t uuid = UUID_INIT(0x00112233, 0x4455, 0x6677, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff);
	DECLARE_BITMAP(bits, 128);
	phys_addr_t phys = 0x1234;
	dma_addr_t dma = 0xabcd;
	struct resource io = { .start = 0x3f8, .end = 0x3ff, .flags = IORESOURCE_IO, .name = "port" };
	struct resource memory = DEFINE_RES_MEM(0xfebc0000, 0x20000);
	struct resource irq = DEFINE_RES_IRQ(9);
	gfp_t gfp = GFP_KERNEL | __GFP_ZERO;
	unsigned long flags = VM_READ | VM_EXEC;
	netdev_features_t features = 0x4801;
	__be32 fourcc_like = cpu_to_be32(0x30323449);
	u32 fourcc = 0x34325258;

	SHOW("%*ph", 8, data);
	SHOW("%*phC %*phD %*phN", 3, data, 3, data, 3, data);
	SHOW("%8ph", data);
	SHOW("%*ph", 0, data);
	SHOW("%pUb %pUB", &uuid, &uuid);
	SHOW("%pUl %pUL", &guid, &guid);
	SHOW("%pU", &uuid);
	bitmap_zero(bits, 128);
	bitmap_set(bits, 3, 5);
	set_bit(100, bits);
	SHOW("%*pb", 128, bits);
	SHOW("%*pbl", 128, bits);
	SHOW("%*pb", 12, bits);
	SHOW("%pa %pad", &phys, &dma);
	SHOW("%pap", &phys);
	SHOW("%pR", &io);
	SHOW("%pr", &io);
	SHOW("%pR %pR", &memory, &irq);
	SHOW("%pGg", &gfp);
	SHOW("%pGv", &flags);
	SHOW("%pNF", &features);
	SHOW("%p4cc", &fourcc);
	SHOW("%4phN", &fourcc_like);
}

static noinline void nested(const char *fmt, ...)
{
	struct va_format vaf = { .fmt = fmt };
	va_list args;

	va_start(args, fmt);
	vaf.va = &args;
	pr_info("nested -> [%pV]\n", &vaf);
	va_end(args);
}

static noinline void times(void)
{
	struct rtc_time tm = { .tm_year = 126, .tm_mon = 10, .tm_mday = 23, .tm_hour = 4, .tm_min = 5, .tm_sec = 6 };
	time64_t seconds = 1234567890;
	struct timespec64 ts = { .tv_sec = 5, .tv_nsec = 7000 };

	SHOW("%ptR", &tm);
	SHOW("%ptRd %ptRt", &tm, &tm);
	SHOW("%ptRs", &tm);
	SHOW("%ptT", &seconds);
	SHOW("%ptTdr %ptTt", &seconds, &seconds);
	SHOW("%ptSp", &ts);
}

/* Wrong formats, made at run time so that the compiler cannot object. */
static noinline void wrong(void)
{
	char buffer[64];
	static const char *const formats[] = { "%y", "%", "%5", "%l", "%q", "%pz", "%n" };
	int i, ret;

	for (i = 0; i < ARRAY_SIZE(formats) - 1; i++) {
		ret = snprintf(buffer, sizeof(buffer), formats[i], 42);
		pr_info("wrong format \"%s\" gives \"%s\", %d\n", formats[i], buffer, ret);
	}
}

static int __init printk_formats_init(void)
{
	numbers();
	strings();
	pointers();
	addresses();
	bytes();
	nested("%d and %s and %pI4", 1, "two", "\x03\x03\x03\x03");
	times();
	if (bad)
		wrong();
	return 0;
}

static void __exit printk_formats_exit(void)
{
}

module_init(printk_formats_init);
module_exit(printk_formats_exit);
