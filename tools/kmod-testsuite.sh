#!/bin/sh
# Run kmod's own test-suite over ukmod's tools.
#
# usage: tools/kmod-testsuite.sh KMOD-SOURCE [WORK-DIRECTORY]
#
# Wants what kmod itself is built with and kernel headers for its test modules: $KDIR, or the newest in /usr/src.
# What is missing is named, by Debian's names. The source is in Debian's package kmod: with a deb-src line,
# apt-get source kmod fetches it.
#
# The suite itself compares what a tool prints as far as it prints anything, and a test of a tool that is to fail
# passes whatever is printed. Here the comparison is strict. And a slow machine has 60 seconds for a test, not 2.
#
# The suite plays a kernel with libraries in LD_PRELOAD, which send every absolute path to a root of the test's
# own, except below the build directory. So that is where the interpreter has to be.
set -eu

source=$(realpath "$1")
work=${2:-$(mktemp -d)}
if [ -n "$(ls -A "$work" 2>/dev/null)" ]; then
    echo "$work is not empty: the suite wants a clean directory" >&2
    exit 2
fi
here=$(realpath "$(dirname "$0")/..")
python=${PYTHON:-python3}
KDIR=${KDIR:-$(find /usr/src -maxdepth 1 -name 'linux-headers-*' ! -name '*-common' | sort -V | tail -n 1)}
export KDIR

missing=
need() { # $1 = package, then a command that succeeds if it is there
    package=$1
    shift
    "$@" >/dev/null 2>&1 || missing="$missing $package"
}
need meson command -v meson
need ninja-build command -v ninja
need gcc command -v cc
need pkg-config command -v pkg-config
need zstd command -v zstd # the suite's scripts compress modules
need xz-utils command -v xz
need libzstd-dev pkg-config libzstd
need liblzma-dev pkg-config liblzma
need zlib1g-dev pkg-config zlib
need libssl-dev pkg-config libcrypto
need linux-headers-amd64 test -d "$KDIR"
if [ -n "$missing" ]; then
    echo "kmod is not built without: apt-get install$missing" >&2
    exit 2
fi

mkdir -p "$work"
cp -a "$source/." "$work/source"
build=$work/source/build
rm -rf "$build"
"$python" - "$work/source/testsuite/testsuite.c" <<'PYTHON'
import sys

path = sys.argv[1]
with open(path) as file:
    text = file.read()
at_end = """static int fd_cmp_check_end(struct fd_cmp *fd_cmp)
{
	char rest = '\\n';

	if (fd_cmp == NULL)
		return 0;
	/* kmod's own correct-license.txt ends in an empty line that its modinfo does not print */
	while (fd_cmp->head_match == 0 && rest == '\\n')
		if (read(fd_cmp->fd_match, &rest, 1) <= 0)
			return 0;
	ERR("Not all of the expected output is on %s\\n", fd_cmp->name);
	return -1;
}

static bool test_run_parent_check_outputs("""
for old, new in (
    ("TEST_TIMEOUT_USEC 2 *", "TEST_TIMEOUT_USEC 60 *"),
    ("fd_cmp->buf_match[r] = '\\0';", "fd_cmp->buf_match[done] = '\\0';"),
    ("static bool test_run_parent_check_outputs(", at_end),
    (
        "err |= fd_cmp_check_activity(fd_cmp_err);",
        "err |= fd_cmp_check_activity(fd_cmp_err) | fd_cmp_check_end(fd_cmp_out) | fd_cmp_check_end(fd_cmp_err);",
    ),
):
    if text.count(old) != 1:
        sys.exit(f"{path} has changed: {old} is not in it")
    text = text.replace(old, new)
with open(path, "w") as file:
    file.write(text)
PYTHON

mbedtls= # an option since kmod 35
grep -q mbedtls "$source"/meson*options* && mbedtls=-Dmbedtls=disabled
meson setup "$build" "$work/source" -Dmanpages=false -Ddocs=false -Dbuild-tests=true -Dmoduledir=/lib/modules \
    -Dzstd=enabled -Dxz=enabled -Dzlib=enabled -Dopenssl=enabled $mbedtls >"$work/meson.log"
ninja -C "$build" >"$work/ninja.log"

"$python" - "$build/python" <<'PYTHON'
import os, shutil, sys, sysconfig

target = sys.argv[1]
library = os.path.join(target, "lib", f"python{sys.version_info.major}.{sys.version_info.minor}")
os.makedirs(os.path.join(target, "bin"))
shutil.copy(os.path.realpath(sys.executable), os.path.join(target, "bin", "python"))
shutil.copytree(sysconfig.get_path("stdlib"), library, ignore=shutil.ignore_patterns("*-packages", "test", "__pycache__"))
shared = os.path.join(sysconfig.get_config_var("LIBDIR"), sysconfig.get_config_var("INSTSONAME") or "")
if os.path.isfile(shared):
    shutil.copy(shared, os.path.join(target, "lib"))
try:
    import backports.zstd

    package = os.path.dirname(backports.zstd.__file__)
    shutil.copytree(package, os.path.join(library, "site-packages", "backports", "zstd"))
except ImportError:
    print("without zstd: depmod_modules_order_for_compressed will fail")
PYTHON

cat >"$build/ukmod.py" <<END
#!$build/python/bin/python
import sys
sys.dont_write_bytecode = True
sys.path[:0] = ["$build/ukmod"]
from ukmod.cli import main
sys.exit(main(sys.argv))
END
chmod +x "$build/ukmod.py"
ln -s "$here/src" "$build/ukmod"
for tool in depmod insmod lsmod modinfo modprobe rmmod; do
    ln -sf ukmod.py "$build/$tool"
done

status=0
total=0
expected=0
for suite in depmod modinfo modprobe weakdep; do
    listed=$("$build/testsuite/test-$suite" --list | grep -c '^	')
    expected=$((expected + listed))
    "$build/testsuite/test-$suite" >"$work/$suite.log" 2>&1 || status=1
    passed=$(grep -E 'PASSED|EXPECTED FAIL' "$work/$suite.log" | grep -vc 'UNEXPECTED\|do not match' || true)
    total=$((total + passed))
    echo "$suite: $passed of $listed passed"
    grep -E 'FAILED|UNEXPECTED|do not match' "$work/$suite.log" || true
done
echo "$total of $expected passed; logs are in $work"
[ "$total" -eq "$expected" ] || status=1
exit $status
