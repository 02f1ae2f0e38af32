#!/bin/sh
# Makes the golden data again: what a real kernel does with the cases and with each of its own modules.
#
#   tools/golden.sh                    by the kernel that tools/release names
#   tools/golden.sh 6.1.0-57-amd64     by another one, which takes its place: modules and a profile are made for it too
#
# A run that was interrupted continues where it was when it is started again with the same argument.
# It takes about 20 minutes on two cores.
set -eu
cd "$(dirname "$0")/.."

old=$(cat tools/release)
new=${1:-$old}
cache=${UKMOD_DEBIAN_CACHE:-.cache/debian}
python=.venv/bin/python
profile=src/ukmod/data/profiles/$new.json.gz

if [ "$new" != "$old" ]; then
    # Directories are named after the kernel that their modules or transcripts belong to.
    git ls-files "src/*/$old/*" "tests/*/$old/*" | sed "s:/$old/.*:/$old:" | sort -u | while read -r directory; do
        git mv "$directory" "${directory%/*}/$new"
    done
    git rm -qf --ignore-unmatch "src/ukmod/data/profiles/$old.json.gz" "tests/golden/$new/modules.verdicts"
    git grep -lIF "$old" -- README.md docs examples 'src/*.py' | xargs -r sed -i "s/$old/$new/g"
    sed -i "2s/$old/$new/" "tests/golden/$new"/*.txt # a transcript that comes out the same is not written again
    echo "$new" >tools/release
    rm -rf "$cache/image" "$cache/other/cloud"
fi
tools/debian.sh
[ -e "$cache/image/boot/vmlinuz-$new" ] || { echo "golden.sh: there is no kernel $new to compare with" >&2; exit 1; }
if [ ! -e "$profile" ]; then
    tools/prebuild.sh
    mkdir -p "${profile%/*}"
    "$python" -m ukmod profile "$cache/image/boot/vmlinuz-$new" -o "$profile"
fi
"$python" -m tests.real.golden
"$python" -m tests.real.computed
"$python" -m tests.real.devices
"$python" -m tests.real.stumbles
"$python" -m tests.real.verdicts --jobs 2
