import { hostFolderSpec } from '@interlock/host';
import { int, oneOf } from '@interlock/runtime';
import { vmHostTermsDefault } from './fleet/vm-hosts.ts';
import { guestSpec } from './guests/guest-settings.ts';

/** The settings of this service, in addition to those of every service. */
export const computeSpec = {
  ...hostFolderSpec,
  ...guestSpec,
  guestDriver: oneOf(
    'A process for each guest here, guests at VM hosts, or no guests (for very large fleets)',
    ['process', 'hosts', 'idle'],
    { default: 'process' },
  ),
  leaseTtlMs: int('The same as of disk: later stops are counted as late', {
    min: 1_000,
    default: 60_000,
  }),
  guestStopTimeoutMs: int('Longest shutdown of a guest', { min: 0, default: 10_000 }),
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
