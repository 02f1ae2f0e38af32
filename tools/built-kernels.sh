#!/bin/sh
# Builds the kernels of tools/configurations from Debian's linux-source-6.1, each at most once for its options, the
# source's version and the compiler.
#
#   tools/built-kernels.sh [NAME...]     all of them, or those that are named
#
#   .cache/built/NAME/boot/vmlinuz-RELEASE       the kernel (UKMOD_BUILT_CACHE: elsewhere than in .cache/built)
#   .cache/built/NAME/lib/modules/RELEASE/build  where modules are built for it; vmlinux and System.map are there too
set -eu
cd "$(dirname "$0")/.."

cache=$(realpath -m "${UKMOD_BUILT_CACHE:-.cache/built}")
table=$PWD/tools/configurations
package=linux-source-6.1
programs="$package make gcc libc6-dev bc bison flex libelf-dev dwarves xz-utils"

say() { printf 'built-kernels.sh: %s\n' "$*" >&2; }

install_programs() {
    missing=
    for program in $programs; do
        dpkg-query -W -f '${Status}' "$program" 2>/dev/null | grep -q 'ok installed' || missing="$missing $program"
    done
    [ -n "$missing" ] || return 0
    [ "$(id -u)" -eq 0 ] || { say "not root; install these yourself:$missing"; exit 1; }
    apt-get -qq update || say "apt-get update failed; the present lists are used"
    DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends -y $missing >/dev/null
}

unpack_source() {
    source=$cache/source-$version
    [ ! -d "$source" ] || return 0
    rm -rf "$source.new"
    mkdir -p "$source.new"
    tar -xf "/usr/src/$package.tar.xz" -C "$source.new" --strip-components=1
    mv "$source.new" "$source"
}

# $1 = name: its lines for .config, those of "common" first.
options() {
    for row in common "$1"; do
        awk -v row="$row" '$1 == row { print $2 }' "$table" | tr , '\n' | sed -e '/=/!s/$/=y/' -e 's/^/CONFIG_/'
    done
}

# $1 = the wanted lines, $2 = .config: what kconfig did not accept. An option that comes twice counts as it comes last.
unmet() {
    awk -F= '{ last[$1] = $0 } END { for (name in last) print last[name] }' "$1" | while read -r line; do
        case $line in
        *=n) ! grep -q "^${line%=n}=" "$2" || echo "$line" ;;
        *) grep -qxF -- "$line" "$2" || echo "$line" ;;
        esac
    done
}

# $1 = name: built in $cache/NAME, unless it is there with the same key.
build() {
    place=$cache/$1
    [ -n "$(awk -v row="$1" '$1 == row' "$table")" ] || { say "no row $1 in $table"; return 1; }
    key=$({ options "$1"; echo "$version"; gcc --version; } | sha256sum | cut -d ' ' -f 1)
    [ "$(cat "$place/key" 2>/dev/null)" != "$key" ] || return 0
    say "building $1"
    rm -rf "$place"
    mkdir -p "$place/objects"
    objects=$place/objects
    make="nice -n 15 make -s -C $source O=$objects LOCALVERSION=-$1 -j$(nproc)"
    $make tinyconfig >"$place/log" 2>&1
    options "$1" >"$place/wanted"
    cat "$place/wanted" >>"$objects/.config"
    $make olddefconfig >>"$place/log" 2>&1
    refused=$(unmet "$place/wanted" "$objects/.config")
    [ -z "$refused" ] || { say "kconfig does not accept for $1:" $refused; return 1; }
    $make bzImage modules >>"$place/log" 2>&1 || { say "cannot build $1: see $place/log"; return 1; }
    release=$(cat "$objects/include/config/kernel.release")
    mkdir -p "$place/boot" "$place/lib/modules/$release"
    cp "$objects/arch/x86/boot/bzImage" "$place/boot/vmlinuz-$release"
    ln -s ../../../objects "$place/lib/modules/$release/build"
    find "$objects" -name '*.o' -delete
    echo "$key" >"$place/key"
}

install_programs
version=$(dpkg-query -W -f '${Version}' "$package")
unpack_source
[ $# -gt 0 ] || set -- $(awk '!/^#/ && NF && $1 != "common" { print $1 }' "$table")
for name; do build "$name"; done
