#!/bin/sh
# Run kmod's own test-suite over ukmod's tools.
#
# usage: tools/kmod-testsuite.sh KMOD-SOURCE [WORK-DIRECTORY]
#
# Wants what kmod itself is built with (meson, ninja, a C compiler, liblzma, libzstd, zlib, libcrypto) and
# kernel headers for its test modules: $KDIR, or the newest in /usr/src.
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
expected=53 # tests of kmod 34 in the suites below; a later kmod has more
KDIR=${KDIR:-$(find /usr/src -maxdepth 1 -name 'linux-headers-*' ! -name '*-common' | sort -V | tail -n 1)}
export KDIR

mkdir -p "$work"
cp -a "$source/." "$work/source"
build=$work/source/build
rm -rf "$build"
meson setup "$build" "$work/source" -Dmanpages=false -Ddocs=false -Dbuild-tests=true -Dmoduledir=/lib/modules \
    -Dzstd=enabled -Dxz=enabled -Dzlib=enabled -Dopenssl=enabled -Dmbedtls=disabled >"$work/meson.log"
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
for suite in depmod modinfo modprobe weakdep; do
    "$build/testsuite/test-$suite" >"$work/$suite.log" 2>&1 || status=1
    passed=$(grep -c PASSED "$work/$suite.log" || true)
    total=$((total + passed))
    echo "$suite: $passed passed"
    grep 'ERR: FAILED' "$work/$suite.log" || true
done
echo "$total of $expected passed; logs are in $work"
[ "$total" -ge "$expected" ] || status=1
exit $status
