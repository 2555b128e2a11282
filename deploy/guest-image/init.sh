#!/bin/busybox sh
# The first process of the guest, from the initial RAM file system. It finds the OS disk, writes the root file system to it if
# the disk is blank, checks it otherwise, and continues from there.
export PATH=/sbin:/bin
/bin/busybox mkdir -p /proc /sys /dev /run /new
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs run /run
grep -q interlock.probe /proc/cmdline && poweroff -f
for module in /modules/*.ko; do insmod "$module"; done
. /sbin/disks.sh

# The kernel panics when its first process ends, and QEMU ends with the panic: the console has the reason.
refuse() {
  echo "interlock: $*" > /dev/console
  sleep 0.2
  exit 1
}

os=
for attempt in $(seq 100); do
  os=$(device_of os)
  [ -n "$os" ] && break
  sleep 0.05
done
[ -n "$os" ] || refuse "no OS disk appeared within 5 s"

# Copies this file system to the OS disk. The marker goes last: an interrupted copy is made again.
install_root() {
  mount -t ext4 "$os" /new || refuse "the new file system of the OS disk cannot be mounted"
  : > /new/.installing
  mkdir -p /new/proc /new/sys /new/dev /new/run /new/disks
  cp -a /bin /sbin /lib /lib64 /new/
  sync
  rm /new/.installing
}

# Whether a copy was interrupted: only its marker, or nothing, is there.
is_unfinished() { [ -e /new/.installing ] || [ "$(ls /new)" = lost+found ]; }

if is_ext4 "$os"; then
  mount -t ext4 "$os" /new || refuse "the file system of the OS disk cannot be mounted"
  is_unfinished && unfinished=yes
  umount /new
  check os "$os"
  if [ -n "$unfinished" ]; then
    install_root
  else
    mount -t ext4 "$os" /new
  fi
  [ -x /new/sbin/guest.sh ] || refuse "the file system of the OS disk has no /sbin/guest.sh: this guest cannot run it"
elif is_blank "$os"; then
  make_ext4 "$os" || refuse "no file system could be made on the OS disk"
  install_root
else
  refuse "the OS disk is not blank and has no ext4 file system without partitions: this guest cannot run it"
fi

mount -o move /run /new/run
umount /proc /sys /dev
exec switch_root /new /sbin/guest.sh
