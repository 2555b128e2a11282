#!/bin/sh
# The first process of the guest once its root file system is that of the OS disk. It reports over a virtio-serial port;
# services/compute/src/qemu/agent.ts has the messages.
export PATH=/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
. /sbin/disks.sh
. /sbin/workload.sh

argument() { sed -n "s/.*interlock\.$1=\([^ ]*\).*/\1/p" /proc/cmdline; }
machine=$(argument machine)
workload=$(argument workload)
pause=$(awk -v "rate=$(argument rate)" 'BEGIN { printf "%.3f", 1 / rate }')

# A port can be opened once: every other process inherits it.
for port in /sys/class/virtio-ports/*; do
  [ "$(cat "$port/name")" = interlock.agent ] && exec 3<> "/dev/${port##*/}"
done
say() { echo "$*" >&3; }
log() { echo "interlock: $*" > /dev/console; }

shut_down() {
  log "shutting down"
  kill $(cat /run/worker.* 2> /dev/null) 2> /dev/null
  sync
  umount /disks/* 2> /dev/null
  mount -o remount,ro /
  sync
  poweroff -f
}

# Waits for any event of the power button: then a read of its device returns.
wait_for_power_button() {
  for input in /sys/class/input/event*; do
    [ "$(cat "$input/device/name")" = "Power Button" ] || continue
    head -c 24 "/dev/input/${input##*/}" > /dev/null && shut_down
  done
}
wait_for_power_button &

report_check() {
  [ -e "/run/fsck.$1" ] || return
  status=$(cat "/run/fsck.$1")
  say fsck "$1" "$status"
  log "e2fsck -f of $1 ended with $status"
}

# Mounts a data disk, with a new file system if it has none, and works on it.
begin_data_disk() {
  serial=$1 device=$2
  mkdir -p "/disks/$serial"
  if is_ext4 "$device"; then
    mount -t ext4 "$device" "/disks/$serial" && umount "/disks/$serial"
    check "$serial" "$device"
    report_check "$serial"
  else
    make_ext4 "$device"
  fi
  mount -t ext4 "$device" "/disks/$serial" && work "$serial" "/disks/$serial"
}

say up
log "booted in $(cut -d ' ' -f 1 /proc/uptime) s"
if [ "$workload" = WRITE_AND_VERIFY ]; then
  report_check os
  work os '' &
  echo "$!" > /run/worker.os
fi
while :; do
  for block in /sys/block/vd*; do
    serial=$(cat "$block/serial" 2> /dev/null)
    case $serial in
      lun*) [ "$workload" = WRITE_AND_VERIFY ] && [ ! -e "/run/worker.$serial" ] || continue ;;
      *) continue ;;
    esac
    begin_data_disk "$serial" "/dev/${block##*/}" &
    echo "$!" > "/run/worker.$serial"
  done
  # A removed disk may be attached again under its number.
  for worker in /run/worker.lun*; do
    serial=${worker#/run/worker.}
    [ -e "$worker" ] && [ -z "$(device_of "$serial")" ] || continue
    kill "$(cat "$worker")" 2> /dev/null
    umount -l "/disks/$serial" 2> /dev/null
    rm -f "$worker"
  done
  sleep 0.2
done
