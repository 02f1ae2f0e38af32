#!/bin/sh
# Fetches what the tests marked "real" need from a Debian 12 mirror. Idempotent; at once when all is there.
#
#   .cache/debian/image   the kernel image package, unpacked, never installed (UKMOD_DEBIAN_CACHE: elsewhere)
#   .cache/debian/other   the same of other kernels, which tools/kernels lists
#   as root, installed    kmod, QEMU, user-mode-linux, a compiler, packers, a browser, and the kernel's headers
#                         (to rebuild modules)
#
# With the argument "kernels" it fetches only the kernels that are listed for "more": 100 MB each, from other suites.
# ukmod kernel fetch fetches those. The mirrors are those that the system's own apt configuration names.
set -eu
cd "$(dirname "$0")/.."

release=$(cat tools/release)
cache=$(realpath -m "${UKMOD_DEBIAN_CACHE:-.cache/debian}")
python=.venv/bin/python
[ -x "$python" ] || python=${PYTHON:-python3}
programs="kmod qemu-system-x86 busybox-static cpio user-mode-linux iproute2 gcc libc6-dev make binutils lzop lz4 squashfs-tools
chromium"

say() { printf 'debian.sh: %s\n' "$*" >&2; }

if ! command -v apt-get >/dev/null || ! command -v dpkg-deb >/dev/null; then
    say "not a Debian system: the tests marked real cannot be run here"
    exit 0
fi

# $1 = package: the version apt would fetch, or nothing.
candidate() { apt-cache policy "$1" 2>/dev/null | sed -n 's/^  Candidate: \([^(].*\)/\1/p'; }

updated=
update() {
    [ -z "$updated" ] || return 0
    updated=yes
    # A mirror that is just being synchronised must not keep out what the lists already name.
    [ "$(id -u)" -ne 0 ] || apt-get -qq update || say "apt-get update failed; going on with the lists there are"
}

install_programs() {
    missing=
    for package in $programs "linux-headers-$1"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
    done
    [ -n "$missing" ] || return 0
    if [ "$(id -u)" -ne 0 ]; then
        say "not root; install these yourself:$missing"
        return 0
    fi
    update
    for package in $missing; do # one by one: a package the mirror has no more must not keep out the rest
        DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends -y "$package" >/dev/null ||
            say "could not install $package"
    done
}

newest_release() {
    apt-cache search --names-only '^linux-image-6\.1\.0-[0-9]+-amd64-unsigned$' | sed 's/^linux-image-\([^ ]*\)-unsigned .*/\1/' | sort -V | tail -n 1
}

unpack_image() {
    [ ! -e "$cache/image/boot/vmlinuz-$release" ] || return 0
    update
    wanted=$release
    package=linux-image-$wanted-unsigned
    if [ -z "$(candidate "$package")" ]; then
        wanted=$(newest_release)
        [ -n "$wanted" ] || { say "the mirror has no linux-image-6.1.0-*-amd64 at all"; return 1; }
        package=linux-image-$wanted-unsigned
        say "WARNING: the mirror does not have linux-image-$release any more; $wanted is fetched in its place."
        say "WARNING: the golden data and the compiled modules belong to $release, so nothing can be compared with it."
        say "WARNING: make golden RELEASE=$wanted remakes them (CONTRIBUTING.md)."
        [ ! -e "$cache/image/boot/vmlinuz-$wanted" ] || return 0
    fi
    mkdir -p "$cache/download"
    (cd "$cache/download" && apt-get -qq download "$package")
    rm -rf "$cache/image.new"
    dpkg-deb --extract "$cache/download/$package"_*.deb "$cache/image.new"
    rm -rf "$cache/image" "$cache/download"
    mv "$cache/image.new" "$cache/image"
    say "unpacked $package into $cache/image"
}

# -- other kernels: tools/kernels lists them ----------------------------------------------------------------

# $1 = name, $2 = suites, $3 = kernel: unpacked, unless one is there. Failing is not fatal.
unpack_other() {
    place=$cache/other/$1
    [ ! -e "$place" ] || return 0
    suite=
    [ "$2" = system ] || suite="--suite $2"
    PYTHONPATH=src "$python" -m ukmod kernel fetch "$3" $suite --into "$place" >&2 || say "no kernel $1"
}

# $1 = real or more: the kernels that are listed as such.
unpack_others() {
    grep -v '^#' tools/kernels | while read -r name when suites kernel _; do
        [ "$when" != "$1" ] || unpack_other "$name" "$suites" "$(printf %s "$kernel" | sed "s/@release@/${release%-amd64}/")"
    done
}

if [ "${1-}" = kernels ]; then
    unpack_others more
    exit
fi
unpack_image
unpack_others real
install_programs "$release"
