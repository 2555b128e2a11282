import { isOutage } from '@interlock/access';
import type { Category, Cause, Loaded } from '@interlock/event-store';
import type { Clock, Random } from '@interlock/runtime';
import { keyStopWork, unlessCaused } from '../vm/causes.ts';
import { isPinned } from '../vm/disk-state.ts';
import type { VmEvent } from '../vm/events.ts';
import { blockNextStart } from '../vm/key-loss.ts';
import { type KeyOfSet, keyAccessReturned } from '../vm/key-return.ts';
import type { KeyLoss } from '../vm/machine.ts';
import type { Machine, Vm } from '../vm/state.ts';
import type { KnownLoss, Losses } from './losses.ts';

/**
 * Reconciles what running machines show about their next start with the known losses. Facts of losses and returns do that too,
 * but a machine that opened an ultra disk while its key was being lost was not among the machines they found.
 */
export const nextStarts = (parts: {
  readonly vms: Category<Vm, VmEvent>;
  readonly losses: Pick<Losses, 'of'>;
  readonly clock: Clock;
  readonly random: Random;
}) => {
  const { vms, losses, clock, random } = parts;

  /** Decides about these machines. One that others keep changing is left to the next sweep. */
  const decide = async (
    machines: readonly Loaded<Vm>[],
    decision: (vm: Vm) => readonly VmEvent[],
    cause: Cause,
  ): Promise<void> => {
    const concerned = machines.filter(({ state }) => decision(state).length > 0);
    if (concerned.length > 0) {
      const options = { onContention: 'reject', ...unlessCaused(cause, 'blocked') } as const;
      await vms.transactMany(concerned, decision, cause, options);
    }
  };

  /** Reconciles a page of machines. @param cause of access that is found restored */
  return async (machines: readonly Loaded<Vm>[], cause: Cause): Promise<void> => {
    const pinned = machines.filter(({ state }) => isRunning(state) && state.disks.some(isPinned));
    const keys = new Map<string, KeyOfSet>();
    for (const { state } of pinned) {
      if (!isRunning(state)) continue;
      for (const { set, keyVersion } of [...state.disks.filter(isPinned), ...state.blocked])
        keys.set(`${set} ${keyVersion}`, { set, keyVersion });
    }
    for (const key of keys.values()) {
      const current = (await losses.of(key.set, key.keyVersion)).filter(({ isOver }) => !isOver);
      for (const lost of current) await decide(pinned, blocking(lost), lost.cause);
      if (current.length === 0) await decide(pinned, unblocking(key), cause);
    }
  };

  function unblocking(key: KeyOfSet): (vm: Vm) => readonly VmEvent[] {
    const returned = keyAccessReturned(clock.now(), key);
    // The sweep asks the disk service whether an outage is over.
    const isOfKey = ({ set, keyVersion, reason }: KeyLoss): boolean =>
      set === key.set && keyVersion === key.keyVersion && !isOutage(reason);
    return (vm) => (isRunning(vm) && vm.blocked.some(isOfKey) ? returned(vm) : []);
  }

  function blocking({ cause, isOver: _over, ...loss }: KnownLoss): (vm: Vm) => readonly VmEvent[] {
    const isUnder = ({ keyVersion }: Pick<KeyOfSet, 'keyVersion'>): boolean => keyVersion === loss.keyVersion;
    return blockNextStart({ loss, work: keyStopWork(cause, clock, random), isUnder });
  }
};

const isRunning = (vm: Vm): vm is Machine => vm.status === 'active' && vm.power.state === 'running';
