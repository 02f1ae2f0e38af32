#!/bin/sh
# Remakes the compiled modules that the repository carries, from examples/, for the kernel the golden data is of.
# Needs that kernel's headers (tools/debian.sh) and a C compiler; the same headers and compiler give the same bytes.
#
#   tools/prebuild.sh [DIRECTORY]     write them under DIRECTORY instead of the repository
set -eu
cd "$(dirname "$0")/.."

release=$(cat tools/release)
kdir=${KDIR:-/usr/src/linux-headers-$release}
target=${1:-.}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# $1 = directory of sources, copied to $work and compiled there; $2... = more of the compiler's flags.
compile() {
    sources=$work/$1
    shift
    # The prefix map keeps the directory's name out of WARN()'s file names and the build id.
    make -s -C "$sources" KDIR="$kdir" KCFLAGS="-ffile-prefix-map=$sources/= $*" modules
}

# $1 = directory of sources, $2 = where the stripped modules go
prebuild() {
    mkdir -p "$work/$1" "$work/$2"
    cp -R "$1"/. "$work/$1"
    compile "$1"
    find "$work/$1" -name '*.ko' | while read -r module; do
        strip --strip-debug -o "$work/$2/$(basename "$module")" "$module"
    done
}

# The examples keep their line tables, in which no directory of this machine is named.
prebuild_examples() {
    mkdir -p "$work/examples" "$work/$examples"
    cp src/ukmod/data/examples/*.c src/ukmod/data/examples/Makefile "$work/examples"
    compile examples "-fdebug-prefix-map=$kdir=."
    cp "$work"/examples/*.ko "$work/$examples"
}

[ -d "$kdir" ] || { echo "prebuild.sh: no kernel headers in $kdir (KDIR names another place)" >&2; exit 1; }
demo=src/ukmod/data/demo/$release
cases=tests/data/cases/$release
attacks=tests/data/attacks/$release
devices=tests/data/devices/$release
examples=src/ukmod/data/examples/$release
prebuild examples/request_module "$demo"
prebuild examples/cases "$cases"
prebuild examples/attacks "$attacks"
prebuild examples/devices "$devices"
prebuild_examples
# Modules made for other kernels, by their version magic: another release, another configuration.
number=$(echo "$release" | sed 's/^6\.1\.0-\([0-9]*\)-.*/\1/')
sed "s/vermagic=6.1.0-$number/vermagic=6.1.0-$((number - 1))/" "$work/$cases/no_exit.ko" >"$work/$cases/other_release.ko"
sed "s/\(vermagic=[^ ]*\) SMP preempt /\1 UP  preempt /" "$work/$cases/no_exit.ko" >"$work/$cases/other_config.ko"

for directory in "$demo" "$cases" "$attacks" "$devices" "$examples"; do
    mkdir -p "$target/$directory"
    rm -f "$target/$directory"/*.ko
    cp "$work/$directory"/*.ko "$target/$directory"
done
