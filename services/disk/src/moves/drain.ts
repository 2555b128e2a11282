import { type Category, type Cause, type EventOf, Rejection, stepCauses } from '@interlock/event-store';
import { outsideOfCalls } from '@interlock/rpc';
import type { Control } from '../disk/control.ts';
import { whyItStays } from '../disk/decider.ts';
import { setOf } from '../disk/encryption.ts';
import type { Disk } from '../disk/state.ts';
import { choice } from '../fleet/choice.ts';
import { finishDrain } from '../fleet/draining.ts';
import { ofHost } from '../fleet/own.ts';
import type { Snapshot } from '../snapshot/decider.ts';
import type { Moved } from './moved-kinds.ts';
import type { VolumeMoves } from './volume-moves.ts';

/** Disks or snapshots read at once. */
const pageSize = 200;

/** Moves of a drain under way at one time. */
const movesMax = 2;

/**
 * Empties this host while it is draining: each disk and each snapshot moves to the host that its set prefers among those that take new
 * disks. An open disk that cannot move (`whyItStays`) stays until it is closed, and moves in a later round. There is no state of a drain besides that of the
 * host: what is left to do is what still names it.
 */
export class Drain {
  readonly #control: Control;
  readonly #moves: VolumeMoves;
  #isRunning = false;

  constructor(control: Control, moves: VolumeMoves) {
    this.#control = control;
    this.#moves = moves;
  }

  /** Starts a round, unless one is running or the host is not draining. */
  advance(system: Cause): void {
    const { fleet, hostName, log } = this.#control;
    const isDraining = fleet.list().some(({ name, status }) => name === hostName && status === 'draining');
    if (this.#isRunning || !isDraining) return;
    this.#isRunning = true;
    outsideOfCalls(async () => {
      try {
        const cause = await this.#causeOf(system);
        await this.#round(this.#control.disks, cause);
        await this.#round(this.#control.snapshots, cause);
        await finishDrain(this.#control, hostName, cause);
      } catch (error) {
        log.warn('a round of the drain of this disk host failed and is repeated', { error });
      } finally {
        this.#isRunning = false;
      }
    });
  }

  async #round<State extends Disk | Snapshot, Event extends EventOf>(
    kind: Pick<Category<State, Event>, 'list'>,
    cause: Cause,
  ): Promise<void> {
    const { hostName, signal, log } = this.#control;
    let after: string | undefined;
    let stayed = 0;
    do {
      const page = await kind.list({
        ...{ index: ofHost(hostName), limit: pageSize },
        ...(after === undefined ? {} : { after }),
      });
      const left = page.items.flatMap(({ id, state }) => (this.#isMovable(state) ? [{ id, state }] : []));
      const worker = async (): Promise<void> => {
        for (let one = left.shift(); one !== undefined && !signal.aborted; one = left.shift())
          if (!(await this.#moveAway(one.id, one.state, cause))) stayed += 1;
      };
      await Promise.all(Array.from({ length: movesMax }, worker));
      after = page.next;
    } while (after !== undefined && !signal.aborted);
    if (stayed > 0) log.warn('no other disk host takes what is on this one', { count: stayed });
  }

  #isMovable(state: Disk | Snapshot): state is Moved {
    if (state.status !== 'active') return false;
    if (!('access' in state)) return true;
    return state.changing === null && whyItStays(state, this.#control.clock.now()) === undefined;
  }

  /** Its moves are steps of the drain that an operator requested. */
  async #causeOf(system: Cause): Promise<Cause> {
    const { hosts, hostName } = this.#control;
    const { state } = await hosts.load(hostName);
    return { ...system, causes: stepCauses(`${hosts.definition.name}-${hostName}`, state, 'drain') };
  }

  /** @returns whether it had somewhere to go */
  async #moveAway(name: string, state: Moved, cause: Cause): Promise<boolean> {
    const { log } = this.#control;
    const target = this.#targetOf(name, state);
    if (target === undefined) return false;
    try {
      await this.#moves.begin(name, target, cause);
      await this.#moves.ended(name);
    } catch (error) {
      // It was opened, changed or deleted meanwhile; what still is here is tried again in the next round.
      if (!(error instanceof Rejection)) throw error;
      log.info('a disk or snapshot cannot leave this host yet', { name, reason: error.reason });
    }
    return true;
  }

  /** As for a new disk: what is under one set stays together. */
  #targetOf(name: string, { encryption, sizeGib }: Moved): string | undefined {
    const { fleet, hostName } = this.#control;
    const others = fleet.list().filter((host) => host.name !== hostName);
    const key = setOf(encryption) || name.split('/').slice(0, -2).join('/');
    return choice(others, { key, sizeGib })[0];
  }
}
