import { type Cause, type Loaded, Rejection } from '@interlock/event-store';
import type { Control } from '../disk/control.ts';
import { whyItStays } from '../disk/decider.ts';
import { type FleetHost, noteDrained } from './decider.ts';
import { ofHost, unfinishedOn } from './own.ts';
import type { HostContent, OpenDisks } from './wire.ts';

/** Disks read at once. */
const pageSize = 1_000;

/** Whether nothing names a host: no disk, no snapshot, and no volume of a move that goes there or has left there. */
export const isEmpty = async (control: Parameters<typeof contentOf>[0], host: string): Promise<boolean> => {
  const { disks, snapshots } = await contentOf(control, host);
  const moving = await Promise.all([
    control.disks.count(unfinishedOn(host)),
    control.snapshots.count(unfinishedOn(host)),
  ]);
  return disks + snapshots + moving[0] + moving[1] === 0;
};

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

/** Names of open disks that are shown. */
const shownMax = 10;

/** The open disks of a host that stay while it is draining (`whyItStays`); another one does not wait for them. */
export const openDisksOf = async (
  { disks, clock }: { readonly disks: Pick<Control['disks'], 'list'>; readonly clock: Control['clock'] },
  { id: host, state }: Loaded<FleetHost>,
): Promise<OpenDisks> => {
  if (state.status !== 'draining') return { count: 0, names: [] };
  const names: string[] = [];
  let after: string | undefined;
  do {
    const page = await disks.list({
      ...{ index: ofHost(host), limit: pageSize },
      ...(after === undefined ? {} : { after }),
    });
    for (const { id, state: disk } of page.items)
      if (disk.status === 'active' && whyItStays(disk, clock.now()) !== undefined) names.push(id);
    after = page.next;
  } while (after !== undefined);
  return { count: names.length, names: names.slice(0, shownMax) };
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
  if (!(await isEmpty(control, host))) return;
  // It may have been resumed meanwhile, and have a new disk.
  await hosts
    .transact(host, noteDrained(clock.now()), cause, { expected: version, step: 'drain' })
    .catch((error: unknown) => {
      if (!(error instanceof Rejection) || error.reason !== 'ETAG_MISMATCH') throw error;
    });
};
