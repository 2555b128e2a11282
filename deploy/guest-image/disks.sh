# BusyBox has its own mke2fs, which makes no ext4, so programs of e2fsprogs are called by their paths.
# Disks are named by the serial numbers of their block devices: `os`, `lun0`, `lun1` and so on.

# The device of a serial number; nothing if it does not exist.
device_of() {
  for block in /sys/block/vd*; do
    [ -e "$block/serial" ] && [ "$(cat "$block/serial")" = "$1" ] && echo "/dev/${block##*/}" && return
  done
}

# The two bytes at 1,080 are the magic number of ext4.
is_ext4() { [ "$(dd if="$1" bs=1 skip=1080 count=2 2> /dev/null | od -An -tx1 | tr -d ' \n')" = 53ef ]; }

is_blank() { [ "$(head -c 65536 "$1" | tr -d '\0' | wc -c)" -eq 0 ]; }

make_ext4() { /sbin/mke2fs -q -t ext4 -F "$1"; }

# A forced check of a file system whose journal was replayed. The agent reads its exit status from /run.
check() {
  /sbin/e2fsck -f -n "$2" > "/run/fsck.$1.log" 2>&1
  echo "$?" > "/run/fsck.$1"
}
