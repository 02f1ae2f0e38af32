#!/bin/sh
# Makes the golden data again: what a real kernel does with the cases and with each of its own modules.
#
#   tools/golden.sh                    by the kernel that tools/release names
#   tools/golden.sh 6.1.0-57-amd64     by another one, which takes its place: modules and a profile are made for it too
#
# It takes about 20 minutes on two cores.
set -eu
cd "$(dirname "$0")/.."

old=$(cat tools/release)
new=${1:-$old}
if [ "$new" != "$old" ]; then
    echo "$new" >tools/release
    rm -rf "${UKMOD_DEBIAN_CACHE:-.cache/debian}"
fi
tools/debian.sh
image=${UKMOD_DEBIAN_CACHE:-.cache/debian}/image
python=.venv/bin/python
if [ "$new" != "$old" ]; then
    git mv "tests/golden/$old" "tests/golden/$new"
    git mv "tests/data/cases/$old" "tests/data/cases/$new"
    git mv "src/ukmod/data/demo/$old" "src/ukmod/data/demo/$new"
    git rm -q "src/ukmod/data/profiles/$old.json.gz" "tests/golden/$new/modules.verdicts"
    tools/prebuild.sh
    "$python" -m ukmod profile "$image/boot/vmlinuz-$new" -o "src/ukmod/data/profiles/$new.json.gz"
fi
"$python" -m tests.real.golden
"$python" -m tests.real.verdicts --jobs 2
