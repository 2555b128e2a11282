import { type Category, type Cause, Rejection } from '@interlock/event-store';
import type { Clock } from '@interlock/runtime';
import type { DiskEvent } from '../disk/events.ts';
import type { Disk } from '../disk/state.ts';
import type { HostIdentity } from '../host/owner/ownership.ts';
import type { Snapshot } from '../snapshot/decider.ts';
import type { SnapshotEvent } from '../snapshot/events.ts';
import { type FleetHost, register } from './decider.ts';
import { contentOf } from './draining.ts';
import type { DiskHostEvent } from './events.ts';
import { firstHost, ofHost } from './own.ts';

/** What a registration needs. */
interface RegistrationParts {
  readonly hosts: Pick<Category<FleetHost, DiskHostEvent>, 'load' | 'listAll' | 'transact'>;
  readonly disks: Pick<Category<Disk, DiskEvent>, 'count'>;
  readonly snapshots: Pick<Category<Snapshot, SnapshotEvent>, 'count'>;
  readonly host: Pick<HostIdentity, 'name' | 'folder' | 'lostFolder' | 'ttlMs'>;
  readonly clock: Pick<Clock, 'now' | 'monotonicMs' | 'sleep'>;
  /** Aborted when the process ends. */
  readonly signal: AbortSignal;
  /** Whether other processes pass calls on to the hosts; if not, this one serves every disk or none. */
  readonly isOneOfMany: boolean;
}

/**
 * Registers this host with its folder at its start. Call it when the lease of the folder is held: a folder that is declared lost
 * has no lease afterwards, so either the lease or this fails.
 * @throws Rejection FAILED_PRECONDITION OTHER_HOST_FOLDER, FIRST_HOST_MISSING, OTHER_DISK_HOSTS
 */
export const registerHost = async (parts: RegistrationParts, cause: Cause): Promise<void> => {
  const { hosts, host, clock, isOneOfMany } = parts;
  await requireFirstHost(parts);
  if (!isOneOfMany) await requireNoOther(parts);
  await hosts.transact(host.name, register(clock.now(), host.name, host.folder, host.lostFolder), cause);
};

/** Time between two looks for the first host, in milliseconds. */
const lookMs = 200;

/**
 * Disks from before hosts had names are on `firstHost`: under another name, their host would serve none of them. Hosts that start
 * together wait for it, for the time of one lease.
 */
const requireFirstHost = async (parts: RegistrationParts): Promise<void> => {
  const { clock, host, signal } = parts;
  const endMs = clock.monotonicMs() + host.ttlMs;
  for (;;) {
    const missing = await firstHostMissing(parts);
    if (missing === undefined) return;
    if (signal.aborted || clock.monotonicMs() >= endMs) throw missing;
    await clock.sleep(lookMs, signal);
  }
};

const firstHostMissing = async ({
  hosts,
  disks,
  snapshots,
  host,
}: RegistrationParts): Promise<Rejection | undefined> => {
  if (host.name === firstHost || (await hosts.load(firstHost)).state.status !== 'absent') return undefined;
  const [ofDisks, ofSnapshots] = await Promise.all([
    disks.count(ofHost(firstHost)),
    snapshots.count(ofHost(firstHost)),
  ]);
  if (ofDisks + ofSnapshots === 0) return undefined;
  return new Rejection(
    'FAILED_PRECONDITION',
    'FIRST_HOST_MISSING',
    `DISK_HOST must be ${firstHost} for the folder that has the volumes of ${ofDisks} disks and ${ofSnapshots} snapshots from before disk hosts had names (got ${host.name})`,
    { disk_host: host.name, allowed: firstHost },
  );
};

/** Without control processes, calls for the disks of other hosts would have no way there. */
const requireNoOther = async ({ hosts, disks, snapshots, host }: RegistrationParts): Promise<void> => {
  const all = await hosts.listAll({});
  const others = all.filter(
    ({ id, state }) => id !== host.name && state.status !== 'absent' && state.status !== 'lost',
  );
  const found = await Promise.all(
    others.map(async ({ id }) => ({ id, ...(await contentOf({ disks, snapshots }, id)) })),
  );
  const withContent = found.filter((one) => one.disks + one.snapshots > 0);
  if (withContent.length === 0) return;
  const listed = withContent.map((one) => `${one.id} (${one.disks} disks, ${one.snapshots} snapshots)`).join(', ');
  throw new Rejection(
    'FAILED_PRECONDITION',
    'OTHER_DISK_HOSTS',
    `${host.name} cannot serve alone (DISK_ROLE is all), because other disk hosts have disks: ${listed}. Start every disk host with DISK_ROLE=host and a process with DISK_ROLE=control (locally: --disk-hosts), or delete those disks first`,
    { disk_host: host.name, others: withContent.map(({ id }) => id).join(', ') },
  );
};
