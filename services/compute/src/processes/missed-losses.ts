import type { Loaded } from '@interlock/event-store';
import { keyStopWork } from '../vm/causes.ts';
import { asKnownBy } from '../vm/disk-state.ts';
import { stopForKeyLoss } from '../vm/key-loss.ts';
import type { Vm } from '../vm/state.ts';
import type { Run } from './process.ts';

/**
 * Stops a machine if a key was lost after this run unwrapped it for an open disk.
 * @param machine as it is with these disks open
 * @returns whether it did
 */
export const stopIfLossMissed = async (
  { parts, opening }: Pick<Run<unknown>, 'parts' | 'opening'>,
  machine: Loaded<Vm>,
): Promise<boolean> => {
  if (opening === undefined) return false;
  const { vms, losses, clock, random, guests } = parts;
  const opened = asKnownBy(machine.state, opening.opened);
  const known = await losses.missedBy(opened);
  if (!known) return false;
  const { cause, isOver: _over, ...loss } = known;
  const isUnder = ({ disk }: { readonly disk: string }): boolean =>
    opened.some((one) => one.disk === disk && one.set === loss.set && one.keyVersion === loss.keyVersion);
  const terms = { loss, work: keyStopWork(cause, clock, random), isInstant: !guests.hasGuests, isUnder };
  const { events } = await vms.transact(machine.id, stopForKeyLoss(terms), cause);
  parts.measureStops(events);
  return true;
};
