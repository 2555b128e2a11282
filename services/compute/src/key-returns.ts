import type { Category, Cause, Loaded } from '@interlock/event-store';
import type { Clock, Random } from '@interlock/runtime';
import type { Losses } from './losses.ts';
import type { SetOptions } from './set-options.ts';
import type { Vm } from './vm/decider.ts';
import type { VmEvent } from './vm/events.ts';
import { isHeldByKey, type KeyOfSet, keyAccessReturned, type Restart } from './vm/key-return.ts';

/** Carries the return of a key to the machines that it was in the way of. */
export interface KeyReturns {
  /** Shows a version of a set as usable again, page by page, and starts again what its owner wants started. */
  returned(key: KeyOfSet, cause: Cause): Promise<void>;
}

/** Machines read and decided in one go. */
const pageSize = 1_000;

export const keyReturns = (parts: {
  readonly vms: Category<Vm, VmEvent>;
  readonly losses: Losses;
  readonly options: SetOptions;
  readonly clock: Clock;
  readonly random: Random;
  /** Told which machines have something to do. */
  readonly kick: (ids: readonly string[]) => void;
}): KeyReturns => {
  const { vms, losses, options, clock, random, kick } = parts;

  /** How these machines are to be started again; one that is not named stays off (CMK-125). */
  const restartsOf = async (
    machines: readonly Loaded<Vm>[],
    key: KeyOfSet,
    cause: Cause,
  ): Promise<ReadonlyMap<string, Restart>> => {
    const restarts = new Map<string, Restart>();
    const wanted = new Map<string, boolean>();
    for (const { id, state } of machines) {
      if (state.status !== 'active' || state.stopReason === undefined || !isHeldByKey(state)) continue;
      const { set } = state.stopReason;
      if (!wanted.has(set)) wanted.set(set, (await options.of(set)).autoRestart);
      if (wanted.get(set) !== true) continue;
      const isOther = (disk: KeyOfSet): boolean =>
        disk.set !== '' && !(disk.set === key.set && disk.keyVersion === key.keyVersion);
      const isClear = !(await losses.anyLost(state.disks.filter(isOther)));
      const work = { ...cause, id: random.uuid(), kind: 'start', at: clock.now(), caller: 'system:compute' } as const;
      restarts.set(id, { work, isClear });
    }
    return restarts;
  };

  const decidePage = async (page: readonly Loaded<Vm>[], key: KeyOfSet, cause: Cause): Promise<void> => {
    const at = clock.now();
    const restarts = await restartsOf(page, key, cause);
    const concerned = page.filter(({ id, state }) => keyAccessReturned(at, key, restarts.get(id))(state).length > 0);
    if (concerned.length === 0) return;
    const { changed } = await vms.transactMany(
      concerned.map(({ id }) => id),
      (state, id) => keyAccessReturned(at, key, restarts.get(id))(state),
      cause,
    );
    kick(changed.map(({ id }) => id));
    // The other key of one that owes its start may have returned between the look and the commit: then nobody else starts it.
    const owing = changed.filter(({ state }) => state.status === 'active' && state.owesStart === true);
    const late = [...(await restartsOf(owing, key, cause))].filter(([, { isClear }]) => isClear);
    if (late.length === 0) return;
    const clear = new Map(late);
    const started = await vms.transactMany(
      [...clear.keys()],
      (state, id) => keyAccessReturned(at, key, clear.get(id))(state),
      cause,
    );
    kick(started.changed.map(({ id }) => id));
  };

  return {
    async returned(key, cause) {
      let after: string | undefined;
      do {
        const page = await vms.list({
          index: { index: 'set', value: key.set },
          limit: pageSize,
          ...(after === undefined ? {} : { after }),
        });
        await decidePage(page.items, key, cause);
        after = page.next;
      } while (after !== undefined);
    },
  };
};
