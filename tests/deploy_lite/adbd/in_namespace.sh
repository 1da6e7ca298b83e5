#!/bin/sh
# unshare -Urn sh in_namespace.sh ADBD_FOLDER PHONE ADB COMMAND...
#
# Starts the real adbd, connects ADB to it and runs COMMAND. adbd listens on all addresses without authentication, so
# this refuses to run where there is more than a loopback that is down: outside a network namespace of its own.
set -eu
adbd_folder=$1 phone=$2 adb=$3
shift 3
others=$(ls /proc/self/net/dev_snmp6 2>/dev/null | grep -cv '^lo$' || true)
if [ "$others" != 0 ] || grep -q ' [0-9A-F]*:.* 0A ' /proc/net/tcp; then
    echo "in_namespace.sh: not in a network namespace of its own" >&2
    exit 99
fi
python3 - <<'P'
import fcntl, socket, struct

UP, GET, SET = 1, 0x8913, 0x8914  # IFF_UP, SIOCGIFFLAGS, SIOCSIFFLAGS
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
    (flags,) = struct.unpack("16xh14x", fcntl.ioctl(probe, GET, struct.pack("16s16x", b"lo")))
    fcntl.ioctl(probe, SET, struct.pack("16sh14x", b"lo", flags | UP))
P
lib=$adbd_folder/usr/lib/$(uname -m)-linux-gnu
PATH=$phone/system/bin:$PATH LD_LIBRARY_PATH=$lib/android:$lib \
    "$adbd_folder/usr/lib/android-sdk/platform-tools/adbd" >"$phone/adbd.log" 2>&1 &
adbd=$!
trap '"$adb" kill-server >/dev/null 2>&1; kill $adbd 2>/dev/null' EXIT
for try in 1 2 3 4 5 6 7 8 9 10; do
    case $("$adb" connect 127.0.0.1:5555) in *"connected to"*) break ;; esac
    sleep 0.5
done
"$@"
