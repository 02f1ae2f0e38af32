#!/bin/sh
# Remakes the compiled modules that the repository carries, from examples/, for the kernel the golden data is of.
# Needs that kernel's headers (tools/debian.sh) and a C compiler; the same headers and compiler give the same bytes.
set -eu
cd "$(dirname "$0")/.."

release=6.1.0-56-amd64
kdir=${KDIR:-/usr/src/linux-headers-$release}

# $1 = directory of sources, $2 = where the stripped modules go
prebuild() {
    work=$PWD/.cache/prebuild/$1
    rm -rf "$work"
    mkdir -p "$work" "$2"
    cp "$1"/*.c "$1"/Makefile "$work"
    # The prefix map keeps this checkout's path out of WARN()'s file names and the build id.
    make -s -C "$kdir" M="$work" KCFLAGS="-ffile-prefix-map=$work/=" KBUILD_MODPOST_WARN=1 modules
    for module in "$work"/*.ko; do
        strip --strip-debug -o "$2/$(basename "$module")" "$module"
    done
}

[ -d "$kdir" ] || { echo "prebuild.sh: no kernel headers in $kdir (KDIR names another place)" >&2; exit 1; }
new=.cache/prebuild/new
rm -rf "$new"
prebuild examples/request_module "$new/demo"
prebuild examples/cases "$new/cases"
prebuild examples/cases/apart "$new/cases"
# Modules made for other kernels, by their version magic: another release, another configuration.
sed "s/vermagic=6.1.0-56/vermagic=6.1.0-55/" "$new/cases/no_exit.ko" >"$new/cases/other_release.ko"
sed "s/\(vermagic=[^ ]*\) SMP preempt /\1 UP  preempt /" "$new/cases/no_exit.ko" >"$new/cases/other_config.ko"

for set in src/ukmod/data/demo tests/data/cases; do
    mkdir -p "$set/$release"
    rm -f "$set/$release"/*.ko
    mv "$new/$(basename "$set")"/*.ko "$set/$release"
done
