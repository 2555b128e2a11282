import { type Category, type Cause, Rejection } from '@interlock/event-store';
import type { Clock } from '@interlock/runtime';
import type { DiskEvent } from '../disk/events.ts';
import type { Disk } from '../disk/state.ts';
import type { HostIdentity } from '../host/owner/ownership.ts';
import type { Snapshot } from '../snapshot/decider.ts';
import type { SnapshotEvent } from '../snapshot/events.ts';
import { type FleetHost, register } from './decider.ts';
import type { DiskHostEvent } from './events.ts';
import { firstHost, ofHost } from './own.ts';

/** What a registration needs. */
interface RegistrationParts {
  readonly hosts: Pick<Category<FleetHost, DiskHostEvent>, 'load' | 'transact'>;
  readonly disks: Pick<Category<Disk, DiskEvent>, 'count'>;
  readonly snapshots: Pick<Category<Snapshot, SnapshotEvent>, 'count'>;
  readonly host: Pick<HostIdentity, 'name' | 'folder' | 'lostFolder'>;
  readonly clock: Pick<Clock, 'now'>;
}

/**
 * Registers this host with its folder at its start. Call it when the lease of the folder is held: a folder that is declared lost
 * has no lease afterwards, so either the lease or this fails.
 * @throws Rejection FAILED_PRECONDITION OTHER_HOST_FOLDER, FIRST_HOST_MISSING
 */
export const registerHost = async (parts: RegistrationParts, cause: Cause): Promise<void> => {
  const { hosts, host, clock } = parts;
  await requireFirstHost(parts);
  await hosts.transact(host.name, register(clock.now(), host.name, host.folder, host.lostFolder), cause);
};

/** Disks from before hosts had names are on `firstHost`: under another name, their host would serve none of them. */
const requireFirstHost = async ({ hosts, disks, snapshots, host }: RegistrationParts): Promise<void> => {
  if (host.name === firstHost || (await hosts.load(firstHost)).state.status !== 'absent') return;
  const [ofDisks, ofSnapshots] = await Promise.all([
    disks.count(ofHost(firstHost)),
    snapshots.count(ofHost(firstHost)),
  ]);
  if (ofDisks + ofSnapshots === 0) return;
  throw new Rejection(
    'FAILED_PRECONDITION',
    'FIRST_HOST_MISSING',
    `DISK_HOST must be ${firstHost} for the folder that has the volumes of ${ofDisks} disks and ${ofSnapshots} snapshots from before disk hosts had names (got ${host.name})`,
    { disk_host: host.name, allowed: firstHost },
  );
};
