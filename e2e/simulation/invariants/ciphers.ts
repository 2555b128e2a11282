import type { Findings } from '@interlock/lab/judge/findings';
import type { Bounds } from '@interlock/lab/judge/invariants/bounds';
import { reasonsOf } from '@interlock/lab/judge/invariants/io';
import type { KnownDisk } from '@interlock/lab/judge/model/disks';
import { type Disturbances, disturbedHosts } from '@interlock/lab/judge/model/disturbances';
import type { SimulatedCloud } from '../cloud/simulated-cloud.ts';
import type { SimulatedTruth } from '../truth/truth.ts';

/** How long after the loss or the bound a host may take to overwrite a DEK that it may no longer use, in milliseconds. */
const lateMs = 1_000;

interface Parts {
  readonly world: Pick<SimulatedCloud, 'cipherHolders' | 'settings'>;
  readonly log: Findings;
  readonly truth: SimulatedTruth;
  readonly disturbances: Disturbances;
  readonly bounds: Bounds;
}

/** G8 for memory: when the right to use a DEK ends, the host destroys the cipher that holds it, with or without I/O. */
export const checkCiphers = (parts: Parts): void => {
  const { world, log, truth } = parts;
  for (const disk of truth.disks.disks.values()) {
    if (disk.isSnapshot) continue;
    const holders = world.cipherHolders(disk.name);
    const other = holders.find((host) => host !== disk.host);
    if (other !== undefined) {
      log.violate('G1', `only ${disk.host}, the host of ${disk.name}, has its DEK in memory`, `${other} has it`);
      return;
    }
    if (disk.set === '' || holders.length === 0 || mayHold(disk, parts)) continue;
    const why = reasonsOf(truth.blockers(disk, 'running'));
    log.violate('G8', `the DEK of ${disk.name} is overwritten: its key is lost (${why})`, 'it is in memory');
    return;
  }
};

/** Disks whose key is usable, and disks of running machines that keep their DEK through a loss (CMK-102). */
const mayHold = (disk: KnownDisk, { world, truth, disturbances, bounds }: Parts): boolean => {
  const boundMs = truth.boundMs(disk);
  const nowMs = truth.nowMs();
  // A host that did not respond to a close learns of it before it renews its lease of the volumes.
  const awayMs = disturbances.lastMs(disturbedHosts([disk.host]));
  const learnsMs = awayMs === undefined ? 0 : awayMs + world.settings.hostLeaseTtlMs;
  if (boundMs === undefined || isPinned(disk, nowMs, learnsMs)) return true;
  const lostMs = Math.min(...truth.blockers(disk, 'running').map(({ sinceMs }) => sinceMs));
  // While events arrive, a loss is known at once. An open or move in progress learns of it by a refusal.
  const isPrompt = (disturbances.lastOfHostMs(disk.host) ?? 0) < lostMs - bounds.calmMs;
  if (isPrompt && nowMs > Math.max(lostMs, disk.movedAtMs, disk.open?.atMs ?? 0) + lateMs) return false;
  return nowMs <= Math.max(boundMs, disturbances.lastMs(disturbedHosts([disk.host])) ?? 0) + lateMs;
};

/** A close ends the session only once the store has acknowledged it, which may take a while. */
const isPinned = ({ sku, open, closed }: KnownDisk, nowMs: number, learnsMs: number): boolean =>
  sku === 'ultra' &&
  (open?.by === 'machine' || (closed?.by === 'machine' && nowMs <= Math.max(closed.closedMs, learnsMs) + lateMs));
