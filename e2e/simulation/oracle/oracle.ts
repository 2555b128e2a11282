import type {
  UnwrapKeysRequest,
  UnwrapKeysResponse,
} from '@interlock/contracts/interlock/key_vault/v1/cryptography.ts';
import type { RecordedEvent } from '@interlock/event-store';
import type { Committed, SimulatedCloud } from '../cloud/simulated-cloud.ts';
import { type DiskContent, openContent } from './content.ts';
import { type CopyTruth, type MadeCopy, openCopyTruth } from './copies.ts';
import { type DiskTruth, type KnownDisk, openDiskTruth } from './disks.ts';
import { type LossTruth, noneStanding, openLossTruth, type Purpose, type Standing } from './losses.ts';
import { type MachineTruth, openMachineTruth } from './machines.ts';

/**
 * The truth about a world, told anew from what was committed and what lies on storage, and by none of the services' code
 * that is on trial: which key could be used since when, what is under it, what may be read.
 */
export interface Truth {
  readonly losses: LossTruth;
  readonly disks: DiskTruth;
  readonly machines: MachineTruth;
  readonly copies: CopyTruth;
  /** What was written, by name of the disk or snapshot. */
  readonly contents: Map<string, DiskContent>;
  contentOf(name: string): DiskContent;
  /** @returns the copies that it records */
  apply(committed: Committed): readonly MadeCopy[];
  /** What keeps a disk's data key from being used now; empty for one under a key of the platform. */
  standing(disk: KnownDisk, purpose: Purpose): readonly Standing[];
  /** From when on nothing invoked on the disk may succeed (`t0 + bound`); undefined while its key can be used. */
  boundMs(disk: KnownDisk): number | undefined;
  /** Whether the disk can never be read again: what wraps its data key was purged (CMK-108). */
  isGone(disk: KnownDisk): boolean;
  nowMs(): number;
}

export const openTruth = (world: SimulatedCloud): Truth => {
  const { clock, settings } = world;
  const nowMs = (): number => clock.monotonicMs();
  const losses = openLossTruth(nowMs, () => world.clockOf('key-vault'));
  const disks = openDiskTruth(nowMs, world.volumes, world.storage);
  const machines = openMachineTruth(nowMs);
  const contents = new Map<string, DiskContent>();

  const standing: Truth['standing'] = (disk, purpose) => {
    if (disk.set === '') return noneStanding;
    const found = losses.standing(disk.set, disks.keyVersionOf(disk), purpose);
    // Asked of every disk at every step, and nearly always there is nothing.
    if (found.length === 0) return found;
    const other = disks.otherVersionOf(disk);
    const isOtherThere = other !== undefined && losses.standing(disk.set, other, purpose).length === 0;
    return isOtherThere ? noneStanding : found;
  };
  const contentOf = (name: string): DiskContent => {
    const found = contents.get(name) ?? openContent();
    contents.set(name, found);
    return found;
  };

  world.onAnswer(({ service, path, sentMs, request, answer }) => {
    if (service !== 'key-vault' || answer === undefined || !path.endsWith('/UnwrapKeys')) return;
    const { outcomes } = answer as UnwrapKeysResponse;
    for (const [n, { unwrap }] of (request as UnwrapKeysRequest).items.entries()) {
      if (unwrap && outcomes[n]?.outcome?.$case === 'unwrapped') disks.noteUnwrap(unwrap.resource, sentMs);
    }
  });
  world.storage.onFlushFailed((volumeId) => {
    for (const disk of disks.disks.values()) if (disk.volumeId === volumeId) contents.get(disk.name)?.failFlush();
  });
  const copies = openCopyTruth({ nowMs, disks, contentOf });
  const applyDisk = (event: RecordedEvent): MadeCopy | undefined => {
    disks.apply(event);
    const made = copies.apply(event);
    // A change of encryption leaves the content where it was known.
    if (made && made.source?.name !== made.name) contents.set(made.name, made.content);
    return made;
  };

  return {
    losses,
    disks,
    machines,
    copies,
    contents,
    contentOf,
    nowMs,
    standing,
    isGone: (disk) => disk.set !== '' && losses.access.isGone(disks.keyVersionOf(disk)),
    boundMs(disk) {
      const found = standing(disk, 'running');
      // Asked of every disk at every step, and nearly always there is nothing.
      if (found.length === 0) return undefined;
      const bounds = found.map(
        ({ sinceMs, owner }) =>
          // A disk that came under the key later has its lease from that moment.
          Math.max(sinceMs, disk.movedAtMs) + settings.leases.ttlMs + (owner === 'identity' ? settings.authzTtlMs : 0),
      );
      return Math.min(...bounds);
    },
    apply({ service, events }) {
      const made: MadeCopy[] = [];
      for (const event of events) {
        if (service === 'disk') {
          const copy = applyDisk(event);
          if (copy) made.push(copy);
        } else if (service === 'compute') machines.apply(event);
        else losses.apply(event);
      }
      return made;
    },
  };
};
