#!/bin/sh
# Remakes the compiled modules that the repository carries, from examples/, for the kernel the golden data is of.
# Needs that kernel's headers (tools/debian.sh) and a C compiler; the same headers and compiler give the same bytes.
set -eu
cd "$(dirname "$0")/.."

release=6.1.0-56-amd64
kdir=${KDIR:-/usr/src/linux-headers-$release}

# $1 = directory of sources, $2 = where the stripped modules go
prebuild() {
    work=$PWD/.cache/prebuild/$(basename "$1")
    rm -rf "$work"
    mkdir -p "$work" "$2"
    cp "$1"/*.c "$1"/Makefile "$work"
    [ -z "$(find "$1" -name '*.h')" ] || cp "$1"/*.h "$work"
    # The prefix map keeps this checkout's path out of WARN()'s file names and the build id.
    make -s -C "$kdir" M="$work" KCFLAGS="-ffile-prefix-map=$work/=" modules
    rm -f "$2"/*.ko
    for module in "$work"/*.ko; do
        strip --strip-debug -o "$2/$(basename "$module")" "$module"
    done
}

[ -d "$kdir" ] || { echo "prebuild.sh: no kernel headers in $kdir (KDIR names another place)" >&2; exit 1; }
prebuild examples/request_module "src/ukmod/data/demo/$release"
[ ! -d examples/cases ] || prebuild examples/cases "tests/data/cases/$release"
