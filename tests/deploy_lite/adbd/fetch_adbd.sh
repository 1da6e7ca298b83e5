#!/bin/sh
# sh fetch_adbd.sh FOLDER: unpacks Debian's adbd and its libraries into FOLDER, installing nothing.
#
# bookworm has it in backports, later releases in main. Both are asked for at the mirror the machine already uses, with
# package lists of our own: installing from backports would replace adb 29, which the tests need as well.
set -eu
folder=$(realpath -m "$1")
[ -x "$folder/usr/lib/android-sdk/platform-tools/adbd" ] && exit 0
. /etc/os-release
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null |
    grep -oE 'https?://[^ ]+/debian/?( |$)' | head -n 1 | tr -d ' ')
: "${mirror:?no Debian mirror in /etc/apt}"
keys=/usr/share/keyrings/debian-archive-keyring.gpg
for suite in "$VERSION_CODENAME" "$VERSION_CODENAME-backports"; do
    echo "deb [signed-by=$keys] $mirror $suite main"
done >"$work/sources.list"
mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/unpacked"
apt() {
    apt-get -qq -o Dir::Etc::SourceList="$work/sources.list" -o Dir::Etc::SourceParts=/dev/null \
        -o Dir::State::Lists="$work/lists" -o Dir::Cache="$work/cache" -o APT::Sandbox::User=root "$@"
}
apt update
cd "$work"
apt -t "$VERSION_CODENAME-backports" download adbd android-libbase android-libcutils android-liblog \
    android-libboringssl libprotobuf32 libbrotli1 liblz4-1 libzstd1
for package in ./*.deb; do
    dpkg -x "$package" "$work/unpacked"
done
rm -rf "$folder" "$folder.part"
cp -a "$work/unpacked" "$folder.part"
mv "$folder.part" "$folder"
