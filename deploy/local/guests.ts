import { globSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { GuestFolder } from '@interlock/lab/judge/journal/history';
import type { Clock } from '@interlock/runtime';
import { guestFiles } from '../../services/compute/src/guest/plan.ts';
import { findGuest, signalGuest } from '../../services/compute/src/guests/guest-process.ts';
import type { DataFolder } from './data-folder.ts';
import { hostNamesOf } from './services.ts';

/** The folders of guests of a local cloud: that of compute, and one of each VM host. They need not exist. */
export const guestFoldersOf = (data: Pick<DataFolder, 'path'>, vmHosts: number): readonly GuestFolder[] => [
  { path: data.path('services', 'compute', 'guests') },
  ...hostNamesOf({ diskHosts: 0, vmHosts }).map((vmHost) => ({
    path: data.path('services', vmHost, 'guests'),
    vmHost,
  })),
];

/** How long guests may take to shut down before they are killed, in milliseconds: the time that compute gives them. */
export const guestGraceMs = 10_000;

/**
 * Requests every guest in a folder to shut down, kills those that do not, and resolves when their processes have ended. No process
 * may start guests there at the same time.
 * @param folder where compute keeps them; it need not exist
 */
export async function endGuests(folder: string, clock: Clock, graceMs = guestGraceMs): Promise<void> {
  const folders = globSync(`**/${guestFiles.pid}`, { cwd: folder }).map((file) => join(folder, dirname(file)));
  const guests = folders.flatMap((own) => findGuest(own, clock) ?? []);
  for (const guest of guests) signalGuest(guest, 'SIGTERM');
  const allEnded = Promise.all(guests.map(({ ended }) => ended));
  const patience = new AbortController();
  await Promise.race([allEnded, clock.sleep(graceMs, patience.signal)]);
  patience.abort();
  for (const folder of folders) {
    const left = findGuest(folder, clock);
    if (left !== undefined) signalGuest(left, 'SIGKILL');
  }
  await allEnded;
}
