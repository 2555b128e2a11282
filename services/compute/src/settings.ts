import { hostFolderSpec } from '@interlock/host';
import { int, oneOf, optional, text } from '@interlock/runtime';
import { ioTimeoutDefaultMs } from './guest/disk-io.ts';

/** The settings of this service beside those of every service. */
export const computeSpec = {
  ...hostFolderSpec,
  dataFolder: text('Folder of this service; the guests and the journals of their I/O lie in `guests`'),
  guestDriver: oneOf('What runs guests: a process each, or none at all for very large fleets', ['process', 'idle'], {
    default: 'process',
  }),
  guestParentPid: optional(
    int('Process without which guests end; without it they live as long as what started this service', { min: 1 }),
  ),
  interlockParentPid: optional(int('Process that started this service', { min: 1 })),
  leaseTtlMs: int('Bound of a revocation, as disk has it: machines that are off later are counted', {
    min: 1_000,
    default: 60_000,
  }),
  guestStopTimeoutMs: int('How long a guest may take to shut down before it is ended', { min: 0, default: 10_000 }),
  guestIoTimeoutMs: int(
    'Longest single read, write or flush of a guest: how long it waits for a disk host that is being replaced',
    {
      min: 100,
      default: ioTimeoutDefaultMs,
    },
  ),
  startTimeoutMs: int('How long a create, start, restart or attach goes on without a definite answer', {
    min: 100,
    default: 60_000,
  }),
  sweepIntervalMs: int('How often everything is looked at again', { min: 100, default: 10_000 }),
  dataDisksMax: int('Most data disks of a machine', { min: 1, max: 64, default: 64 }),
  diskCallsMax: int('Calls of the disk service at once', { min: 1, default: 64 }),
} as const;
