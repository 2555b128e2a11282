import { type Cause, Rejection } from '@interlock/event-store';
import type { Control } from '../disk/control.ts';
import { noteDrained } from './decider.ts';
import { ofHost } from './own.ts';
import type { HostContent } from './wire.ts';

/** How many disks and snapshots name a host, also those being made and deleted. */
export const contentOf = async (
  {
    disks,
    snapshots,
  }: { readonly disks: Pick<Control['disks'], 'count'>; readonly snapshots: Pick<Control['snapshots'], 'count'> },
  host: string,
): Promise<HostContent> => {
  const [ofDisks, ofSnapshots] = await Promise.all([disks.count(ofHost(host)), snapshots.count(ofHost(host))]);
  return { disks: ofDisks, snapshots: ofSnapshots };
};

/** Notes that a draining host has nothing any more; does nothing otherwise. Nothing begins on a draining host. */
export const finishDrain = async (
  control: Pick<Control, 'hosts' | 'disks' | 'snapshots' | 'clock'>,
  host: string,
  cause: Cause,
): Promise<void> => {
  const { hosts, clock } = control;
  const { state, version } = await hosts.load(host);
  if (state.status !== 'draining') return;
  const { disks, snapshots } = await contentOf(control, host);
  if (disks + snapshots > 0) return;
  // It may have been resumed meanwhile, and have a new disk.
  await hosts
    .transact(host, noteDrained(clock.now()), cause, { expected: version, step: 'drain' })
    .catch((error: unknown) => {
      if (!(error instanceof Rejection) || error.reason !== 'ETAG_MISMATCH') throw error;
    });
};
