import type { Category, Cause, Loaded, Rejection } from '@interlock/event-store';
import type { Clock, Instant, Random } from '@interlock/runtime';
import { unlessCaused } from '../vm/causes.ts';
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
import type { Losses } from './losses.ts';
import type { SetOptions } from './set-options.ts';
import { type DiskClosing, throughSet } from './set-pass.ts';

/** What applying a return needs. */
export interface ReturnParts {
  readonly vms: Category<Vm, VmEvent>;
  readonly losses: Pick<Losses, 'anyLost'>;
  readonly options: Pick<SetOptions, 'of'>;
  readonly clock: Clock;
  readonly random: Random;
  /** Continues the work of these machines. */
  readonly resume: (machines: readonly Loaded<Vm>[]) => void;
  /** Closing the disks of a stopped fleet waits for this. */
  readonly closing: Pick<DiskClosing, 'after'>;
}

/** How machines get access back, and the decision about one machine. */
interface Return {
  /** The set of the key. */
  readonly set: string;
  /** The keys of a machine's disks that it does not give back. */
  readonly others: (machine: Machine) => readonly KeyOfSet[];
  readonly decide: (at: Instant, restart: Restart | undefined) => (vm: Vm) => readonly VmEvent[];
}

/**
 * Applies access restored, and moves of disks to another key, to the machines that a loss blocked. If others keep changing a
 * machine, it finishes the rest, then throws CONTENTION: call it again.
 */
export class KeyReturns {
  readonly #parts: ReturnParts;

  constructor(parts: ReturnParts) {
    this.#parts = parts;
  }

  /** Shows a version of a set as usable, page by page, and starts the machines whose set has `auto_restart`. */
  async returned(key: ReturnedKey, cause: Cause): Promise<void> {
    const { vms, losses, closing } = this.#parts;
    // Already lost again: when that loss is over, it gives back what this would.
    if (await losses.anyLost([key])) return;
    const isOther = (disk: KeyOfSet): boolean =>
      disk.set !== '' && !(disk.set === key.set && disk.keyVersion === key.keyVersion);
    const way: Return = {
      set: key.set,
      others: (machine) => attachedDisks(machine).filter(isOther),
      decide: (at, restart) => keyAccessReturned(at, key, restart),
    };
    const contended: Rejection[] = [];
    await closing.after(() =>
      throughSet(vms, key.set, async ({ items }) => {
        contended.push(...(await this.#decideAll(items, way, cause)));
      }),
    );
    for (const refusal of contended) throw refusal;
  }

  /** Shows a disk under its current key, and starts its machine if its set has `auto_restart`. */
  async moved(changed: DiskKey, cause: Cause): Promise<void> {
    const way: Return = {
      set: changed.set,
      // The new key may be lost too.
      others: (machine) =>
        attachedDisks(machine)
          .map((disk) => underKey(disk, changed))
          .filter(({ set }) => set !== ''),
      decide: (at, restart) => diskKeyReplaced(at, changed, restart),
    };
    // One machine owns a disk; others may be about to find out that they cannot attach it.
    const machines = await this.#parts.vms.listAll({ index: { index: 'disk', value: changed.disk } });
    for (const refusal of await this.#decideAll(machines, way, cause)) throw refusal;
  }

  /** @returns the refusals of machines that others kept changing: decide them again */
  async #decideAll(machines: readonly Loaded<Vm>[], way: Return, cause: Cause): Promise<readonly Rejection[]> {
    const { vms, clock, resume } = this.#parts;
    const at = clock.now();
    const store = async (streams: Parameters<typeof vms.transactMany>[0], restarts: ReadonlyMap<string, Restart>) => {
      const decide = (state: Vm, id: string) => way.decide(at, restarts.get(id))(state);
      const { changed, rejected } = await vms.transactMany(streams, decide, cause, {
        onContention: 'reject',
        ...unlessCaused(cause, 'blocked'),
      });
      resume(changed.filter(hasWork));
      return { changed, contended: contendedOf(rejected) };
    };
    const first = await store(machines, await this.#restartsOf(machines, way, cause));
    // Access to the other key of a machine that owes its start may be restored between the read and the commit: read again.
    const owing = first.changed.filter(({ state }) => state.status === 'active' && owesStart(state));
    const clear = [...(await this.#restartsOf(owing, way, cause))].filter(([, { isClear }]) => isClear);
    if (clear.length === 0) return first.contended;
    const second = await store(
      clear.map(([id]) => id),
      new Map(clear),
    );
    return [...first.contended, ...second.contended];
  }

  /**
   * How to start these machines again; a machine that is missing stays off (CMK-125). Of several keys lost at once any may
   * have stopped a machine. So it starts if the set of the key that stopped it or of the key that is back has `auto_restart`,
   * or if an earlier return left the start owed.
   */
  async #restartsOf(machines: readonly Loaded<Vm>[], way: Return, cause: Cause): Promise<ReadonlyMap<string, Restart>> {
    const { losses, clock, random } = this.#parts;
    const restarts = new Map<string, Restart>();
    const known = new Map<string, boolean>();
    for (const { id, state } of machines) {
      const held = state.status === 'active' ? heldByKey(state) : undefined;
      if (state.status !== 'active' || held === undefined) continue;
      if (!owesStart(state) && !(await this.#hasAutoRestart([held.loss.set, way.set], known))) continue;
      const isClear = !(await losses.anyLost(way.others(state)));
      const work = { ...cause, id: random.uuid(), kind: 'start', at: clock.now(), caller: 'system:compute' } as const;
      restarts.set(id, { work, isClear });
    }
    return restarts;
  }

  /** @param known the answers so far, by set */
  async #hasAutoRestart(sets: readonly string[], known: Map<string, boolean>): Promise<boolean> {
    for (const set of sets) {
      if (!known.has(set)) known.set(set, (await this.#parts.options.of(set)).autoRestart);
      if (known.get(set) === true) return true;
    }
    return false;
  }
}

const contendedOf = (rejected: readonly { readonly rejection: Rejection }[]): readonly Rejection[] =>
  rejected.map(({ rejection }) => rejection).filter(({ reason }) => reason === 'CONTENTION');

/** The disks that a start opens. A disk that a stop left half attached or half detached is freed meanwhile. */
const attachedDisks = ({ disks }: Machine): readonly VmDisk[] => disks.filter(({ phase }) => phase === 'attached');

/** Most machines of a fleet are only shown that their key is back, and have nothing to do. */
const hasWork = ({ state }: Pick<Loaded<Vm>, 'state'>): boolean =>
  state.status === 'active' && state.power.work !== undefined;
