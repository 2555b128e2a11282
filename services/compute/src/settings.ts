import { hostFolderSpec } from '@interlock/host';
import { int, oneOf, optional, text } from '@interlock/runtime';
import { vmHostTermsDefault } from './fleet/vm-hosts.ts';
import { ioTimeoutDefaultMs } from './guest/disk-io.ts';

/** The settings of this service, in addition to those of every service. */
export const computeSpec = {
  ...hostFolderSpec,
  dataFolder: text('Folder of the service; `guests` contains the guests and their journals'),
  guestDriver: oneOf('A process for each guest, or no guests (for very large fleets)', ['process', 'idle'], {
    default: 'process',
  }),
  guestParentPid: optional(
    int('Process whose end ends the guests; default: the process that started this service', { min: 1 }),
  ),
  interlockParentPid: optional(int('Process that started this service', { min: 1 })),
  leaseTtlMs: int('The same as of disk: later stops are counted as late', {
    min: 1_000,
    default: 60_000,
  }),
  guestStopTimeoutMs: int('Longest shutdown of a guest', { min: 0, default: 10_000 }),
  guestIoTimeoutMs: int('Longest read, write or flush of a guest, for example while the disk host is replaced', {
    min: 100,
    default: ioTimeoutDefaultMs,
  }),
  guestImageFolder: optional(text('Folder that interlock image build wrote; machines in QEMU boot from it')),
  guestMemoryMib: int('Memory of a machine in QEMU, in MiB', { min: 64, default: 256 }),
  guestCpus: int('Processors of a machine in QEMU', { min: 1, default: 1 }),
  guestBootMs: int('Longest boot of a machine in QEMU', { min: 1_000, default: 60_000 }),
  guestResponseMs: int('How long QEMU may leave a command without a response before its machine is ended', {
    min: 1_000,
    default: 60_000,
  }),
  startTimeoutMs: int('Timeout of create, start, restart and attach while a service does not respond', {
    min: 100,
    default: 60_000,
  }),
  vmHostTtlMs: int('A VM host that has not renewed for so long is unreachable; it renews each third of it', {
    min: 1_000,
    default: vmHostTermsDefault.ttlMs,
  }),
  vmHostLostMs: int('A VM host that has not renewed for so long is lost: its machines stop', {
    min: 1_000,
    default: vmHostTermsDefault.lostMs,
  }),
  sweepIntervalMs: int('Interval of the sweep', { min: 100, default: 10_000 }),
  dataDisksMax: int('Most data disks of a machine', { min: 1, max: 64, default: 64 }),
  diskCallsMax: int('Calls to the disk service in flight', { min: 1, default: 64 }),
} as const;
