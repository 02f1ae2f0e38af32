#!/bin/sh
# Fetches what the tests marked "real" need from a Debian 12 mirror. Idempotent; at once when all is there.
#
#   .cache/debian/image   the kernel image package, unpacked, never installed (UKMOD_DEBIAN_CACHE: elsewhere)
#   .cache/debian/other   the same of other kernels: 6.1's for clouds, and 6.12 from backports
#   as root, installed    kmod, QEMU, user-mode-linux, a compiler, packers, and the kernel's headers (to rebuild modules)
#
# The mirror is the one that the system's own apt configuration names.
set -eu
cd "$(dirname "$0")/.."

release=$(cat tools/release)
cache=${UKMOD_DEBIAN_CACHE:-.cache/debian}
programs="kmod qemu-system-x86 busybox-static cpio user-mode-linux iproute2 gcc libc6-dev make binutils lzop lz4"

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

# $1 = package, as $2 of $cache/other, $3... = apt's options: unpacked, unless a kernel is there.
unpack_other() {
    package=$1
    place=$cache/other/$2
    shift 2
    mkdir -p "$cache/download"
    (cd "$cache/download" && apt-get -qq "$@" download "$package") || { say "could not fetch $package"; return 0; }
    dpkg-deb --extract "$cache/download/$package"_*.deb "$place.new"
    rm -rf "$cache/download"
    mv "$place.new" "$place"
    say "unpacked $package into $place"
}

unpack_cloud() {
    [ ! -e "$cache/other/cloud" ] || return 0
    update
    mkdir -p "$cache/other"
    unpack_other "linux-image-$(printf %s "$release" | sed 's/-amd64$/-cloud-amd64/')-unsigned" cloud
}

# The address of the mirror that the system's apt uses for the suite "bookworm".
mirror() { apt-get indextargets --format '$(CODENAME) $(REPO_URI)' 'Identifier: Packages' | sed -n 's/^bookworm //p' | head -n 1; }

# Backports' lists are kept apart, so that the system's own sources stay as they are.
unpack_backport() {
    [ ! -e "$cache/other/backport" ] || return 0
    lists=$(cd "$cache" && pwd)/lists
    mkdir -p "$lists/partial" "$cache/other"
    update
    [ -n "$(mirror)" ] || { say "apt has no sources for bookworm: Linux 6.12 cannot be fetched"; return 0; }
    keyring=/usr/share/keyrings/debian-archive-keyring.gpg
    echo "deb [signed-by=$keyring] $(mirror) bookworm-backports main" >"$lists.sources.list"
    set -- -o "Dir::Etc::SourceList=$lists.sources.list" -o Dir::Etc::SourceParts=/dev/null -o "Dir::State::Lists=$lists" \
        -o "Dir::Cache::pkgcache=" -o "Dir::Cache::srcpkgcache="
    apt-get -qq "$@" update || { say "cannot reach bookworm-backports: Linux 6.12 cannot be fetched"; return 0; }
    newest=$(apt-cache "$@" search --names-only '^linux-image-6\.12\.[0-9.]+\+deb12[.0-9]*-amd64-unsigned$' |
        cut -d ' ' -f 1 | sort -V | tail -n 1)
    [ -z "$newest" ] || unpack_other "$newest" backport "$@"
    rm -rf "$lists" "$lists.sources.list"
}

unpack_image
unpack_cloud
unpack_backport
install_programs "$release"
