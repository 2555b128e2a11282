import type { Category, Cause, Loaded, Rejection } from '@interlock/event-store';
import type { Clock, Instant, Random } from '@interlock/runtime';
import { underKey } from '../vm/disk-state.ts';
import type { VmEvent } from '../vm/events.ts';
import {
  diskKeyReplaced,
  heldByKey,
  type KeyOfSet,
  keyAccessReturned,
  owesStart,
  type Restart,
  type ReturnedKey,
} from '../vm/key-return.ts';
import type { VmDisk } from '../vm/machine.ts';
import type { DiskKey } from '../vm/progress.ts';
import type { Machine, Vm } from '../vm/state.ts';
import type { Closings } from './closings.ts';
import type { Losses } from './losses.ts';
import type { SetOptions } from './set-options.ts';
import { throughSet } from './set-pass.ts';

/**
 * Carries the return of a key, or of its data to a disk, to the machines that the loss was in the way of. Where others keep
 * changing a machine, the rest is dealt with first: then it throws CONTENTION, and is to be called again.
 */
export interface KeyReturns {
  /** Shows a version of a set as usable again, page by page, and starts again what its owner wants started. */
  returned(key: ReturnedKey, cause: Cause): Promise<void>;
  /** Shows a disk under the key it is under now, and starts its machine again if its owner wants that. */
  moved(changed: DiskKey, cause: Cause): Promise<void>;
}

/** One way back, and what it says about a machine. */
interface WayBack {
  /** Whose key it is. */
  readonly set: string;
  /** Keys of the machine's disks that it does not say anything about. */
  readonly others: (machine: Machine) => readonly KeyOfSet[];
  readonly decide: (at: Instant, restart: Restart | undefined) => (vm: Vm) => readonly VmEvent[];
}

export const keyReturns = (parts: {
  readonly vms: Category<Vm, VmEvent>;
  readonly losses: Losses;
  readonly options: SetOptions;
  readonly clock: Clock;
  readonly random: Random;
  /** Told of machines that have something to do. */
  readonly begun: (machines: readonly Loaded<Vm>[]) => void;
  /** Closes what a stopped fleet left, which can wait: a pass back goes first. */
  readonly closing: Pick<Closings, 'after'>;
}): KeyReturns => {
  const { vms, losses, options, clock, random, begun, closing } = parts;

  const wantsRestart = async (sets: readonly string[], known: Map<string, boolean>): Promise<boolean> => {
    for (const set of sets) {
      if (!known.has(set)) known.set(set, (await options.of(set)).autoRestart);
      if (known.get(set) === true) return true;
    }
    return false;
  };

  /**
   * How these machines are to be started again; one that is not named stays off (CMK-125). Of several keys lost at once any
   * may have stopped a machine, so it starts where the set of any of them wants it: of the one that stopped it, of the one that
   * is back now, or of one that was back before and left the start owing.
   */
  const restartsOf = async (
    machines: readonly Loaded<Vm>[],
    way: WayBack,
    cause: Cause,
  ): Promise<ReadonlyMap<string, Restart>> => {
    const restarts = new Map<string, Restart>();
    const known = new Map<string, boolean>();
    for (const { id, state } of machines) {
      const held = state.status === 'active' ? heldByKey(state) : undefined;
      if (state.status !== 'active' || held === undefined) continue;
      if (!owesStart(state) && !(await wantsRestart([held.loss.set, way.set], known))) continue;
      const isClear = !(await losses.anyLost(way.others(state)));
      const work = { ...cause, id: random.uuid(), kind: 'start', at: clock.now(), caller: 'system:compute' } as const;
      restarts.set(id, { work, isClear });
    }
    return restarts;
  };

  /** @returns why some of them were passed over, because somebody keeps changing them: they are to be decided again */
  const decideAll = async (
    machines: readonly Loaded<Vm>[],
    way: WayBack,
    cause: Cause,
  ): Promise<readonly Rejection[]> => {
    const at = clock.now();
    const restarts = await restartsOf(machines, way, cause);
    const decide = (state: Vm, id: string) => way.decide(at, restarts.get(id))(state);
    const { changed, rejected } = await vms.transactMany(machines, decide, cause, { onContention: 'reject' });
    begun(changed.filter(hasWork));
    const contended = contendedOf(rejected);
    // The other key of one that owes its start may have returned between the look and the commit: then nobody else starts it.
    const owing = changed.filter(({ state }) => state.status === 'active' && owesStart(state));
    const late = [...(await restartsOf(owing, way, cause))].filter(([, { isClear }]) => isClear);
    if (late.length === 0) return contended;
    const clear = new Map(late);
    const started = await vms.transactMany(
      [...clear.keys()],
      (state, id) => way.decide(at, clear.get(id))(state),
      cause,
      { onContention: 'reject' },
    );
    begun(started.changed.filter(hasWork));
    return [...contended, ...contendedOf(started.rejected)];
  };

  return {
    async returned(key, cause) {
      // Lost again, as was heard of already: then that loss's own return carries back what this one would.
      if (await losses.anyLost([key])) return;
      const isOther = (disk: KeyOfSet): boolean =>
        disk.set !== '' && !(disk.set === key.set && disk.keyVersion === key.keyVersion);
      const way: WayBack = {
        set: key.set,
        others: (machine) => toBeOpened(machine).filter(isOther),
        decide: (at, restart) => keyAccessReturned(at, key, restart),
      };
      const contended: Rejection[] = [];
      await closing.after(() =>
        throughSet(vms, key.set, async ({ items }) => {
          contended.push(...(await decideAll(items, way, cause)));
        }),
      );
      for (const refusal of contended) throw refusal;
    },
    async moved(changed, cause) {
      // The key it is under now may be lost by now as well.
      const way: WayBack = {
        set: changed.set,
        others: (machine) =>
          toBeOpened(machine)
            .map((disk) => underKey(disk, changed))
            .filter(({ set }) => set !== ''),
        decide: (at, restart) => diskKeyReplaced(at, changed, restart),
      };
      // One machine has a disk; others may just be finding out that they cannot.
      const machines = await vms.listAll({ index: { index: 'disk', value: changed.disk } });
      for (const refusal of await decideAll(machines, way, cause)) throw refusal;
    },
  };
};

const contendedOf = (rejected: readonly { readonly rejection: Rejection }[]): readonly Rejection[] =>
  rejected.map(({ rejection }) => rejection).filter(({ reason }) => reason === 'CONTENTION');

/** The disks that a start needs: what a stop has left half attached or half detached is freed beside it. */
const toBeOpened = ({ disks }: Machine): readonly VmDisk[] => disks.filter(({ phase }) => phase === 'attached');

/** Most machines of a fleet are only shown that their key is back: there is nothing to be done with them. */
const hasWork = ({ state }: Pick<Loaded<Vm>, 'state'>): boolean =>
  state.status === 'active' && state.power.work !== undefined;
