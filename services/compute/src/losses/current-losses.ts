import type { Loaded } from '@interlock/event-store';
import type { KeyLoss, VmDisk } from '../vm/machine.ts';
import { isOnOrStarting, type Vm } from '../vm/state.ts';
import type { Losses } from './losses.ts';

/** The losses that block a machine's next start, at most one per disk; empty for a machine that runs. */
export type CurrentLosses = (vm: Loaded<Vm>) => readonly KeyLoss[];

/**
 * The known losses of the keys of machines that are off. A loss does not change a machine that is off (CMK-114), so they are
 * read when the machine is shown: one read per key, for any number of machines.
 */
export const currentLosses = async (
  losses: Pick<Losses, 'of'>,
  machines: readonly Loaded<Vm>[],
): Promise<CurrentLosses> => {
  const lost = new Map<string, Omit<KeyLoss, 'disk'> | undefined>();
  for (const machine of machines) {
    for (const disk of disksOf(machine)) {
      const key = keyOf(disk);
      if (!lost.has(key)) lost.set(key, await newestOf(losses, disk));
    }
  }
  return (machine) =>
    disksOf(machine).flatMap((disk) => {
      const loss = lost.get(keyOf(disk));
      return loss === undefined ? [] : [{ ...loss, disk: disk.disk }];
    });
};

const newestOf = async (
  losses: Pick<Losses, 'of'>,
  { set, keyVersion }: VmDisk,
): Promise<Omit<KeyLoss, 'disk'> | undefined> => {
  const [newest] = (await losses.of(set, keyVersion)).filter(({ isOver }) => !isOver);
  if (newest === undefined) return undefined;
  const { cause: _cause, isOver: _over, ...loss } = newest;
  return loss;
};

const keyOf = ({ set, keyVersion }: VmDisk): string => `${set} ${keyVersion}`;

/** Disks under a customer's key of a machine that is off. */
const disksOf = ({ state }: Loaded<Vm>): readonly VmDisk[] =>
  state.status !== 'active' || isOnOrStarting(state) ? [] : state.disks.filter(({ set }) => set !== '');
