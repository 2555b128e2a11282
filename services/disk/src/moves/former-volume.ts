import type { Cause } from '@interlock/event-store';
import { type Control, isSnapshotName } from '../disk/control.ts';
import type { Disk } from '../disk/state.ts';
import { type Moves, noteRemoved } from '../fleet/moving.ts';
import type { Snapshot } from '../snapshot/decider.ts';

type Removing = Pick<Control, 'all' | 'host' | 'hostName' | 'stored' | 'clock'>;

/** What is to be removed of a disk or snapshot, of any host; `null` for nothing. */
export const formerOf = (state: Disk | Snapshot): Moves['former'] => (state.status === 'active' ? state.former : null);

/**
 * Removes the volume that a move or a change of encryption left at this host, and records it; does nothing if none is here. The
 * record names the volume until then. The caller has the turn of the disk or snapshot here.
 */
export const removeFormer = async (control: Removing, name: string, cause: Cause): Promise<void> => {
  const { all, host, hostName } = control;
  const { state } = await (isSnapshotName(name) ? all.snapshots : all.disks).load(name);
  const former = formerOf(state);
  if (former?.host !== hostName) return;
  await host.delete(former.volumeId);
  await recordRemoved(control, name, former, cause);
};

/** Records that the volume which was left is no more: it was removed, or its host is lost. */
export const recordRemoved = async (
  { all, stored, clock }: Pick<Control, 'all' | 'stored' | 'clock'>,
  name: string,
  { volumeId, leftBy: step }: NonNullable<Moves['former']>,
  cause: Cause,
): Promise<void> => {
  const at = clock.now();
  const decide = (state: Disk | Snapshot) => (state.status === 'active' ? noteRemoved(state, at, volumeId) : []);
  const options = { rows: [stored.remove(volumeId)], step };
  if (isSnapshotName(name)) await all.snapshots.transact(name, decide, cause, options);
  else await all.disks.transact(name, decide, cause, options);
};
