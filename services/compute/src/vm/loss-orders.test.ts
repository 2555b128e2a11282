import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { AccessReason } from '@interlock/access';
import fc from 'fast-check';
import { evolve } from './decider.ts';
import type { VmEvent } from './events.ts';
import { applyKeyLoss, explainOutage, type SeenLost, type SetLoss, stopForLostDisks } from './key-loss.ts';
import { keyAccessReturned } from './key-return.ts';
import { start } from './operations.ts';
import { disksOpened, guestStarted, guestStopped, startFailed } from './progress.ts';
import { stoppingLossOf, type Vm } from './state.ts';
import { ask, at, disk, fold, openedAt, running, version1, work } from './test-machine.ts';

/** Changes, and what the machine learns of them: late, twice, out of order, or never. */
type Step =
  | { readonly do: 'lose' | 'restore' | 'cut off' | 'reconnect' | 'look' | 'start' }
  | { readonly do: 'hear loss' | 'hear return' | 'act on look'; readonly which: number };

const os = disk('os', 0, 'PREMIUM_SSD');
const data = disk('data', 1, 'PREMIUM_SSD', 'des');
const key = { set: data.set, keyVersion: version1 };
const failure = { operation: 'start', operationId: 's', status: 'UNAVAILABLE', code: 'X', message: '', at } as const;

/** Why the disk host shows no data of the disk under the key, if it does so. */
type Shown = AccessReason | undefined;

/** One machine with a disk under the key, and what it has learned. */
class Machine {
  vm: Vm = fold(running([os, data], 1));
  /** What sweeps saw, the oldest first. */
  readonly looks: SeenLost[] = [];
  readonly #remembered: SetLoss[] = [];
  readonly #stoppedBy = new Set<string>();
  #attachEpoch = 1;

  commit(events: readonly VmEvent[]): void {
    this.vm = events.reduce(evolve, this.vm);
  }

  /** An event about a loss arrives. */
  hear(loss: SetLoss): void {
    this.#remembered.push(loss);
    const seen = this.#opened()?.accessEpoch ?? 0;
    const events = applyKeyLoss({ loss, work: work('keyStop', 'k'), isInstant: false })(this.vm);
    if (events.some(({ type }) => type === 'VmStopping')) assert.ok(seen < loss.accessEpoch);
    this.#stop(events, `loss ${loss.accessEpoch}`);
  }

  /** A sweep sees what the disk host shows of the open disk. */
  look(shown: Shown): void {
    const open = this.#opened();
    if (!shown || open?.access !== 'open') return;
    const loss = { ...key, reason: shown, disk: data.disk, since: at, traceId: '', accessEpoch: 0 };
    this.looks.push({ loss, attachEpoch: open.attachEpoch });
  }

  /** It acts on what a sweep saw. */
  act(look: SeenLost): void {
    const before = this.#opened();
    const events = stopForLostDisks([look], { work: work('keyStop', 'k'), isInstant: false })(this.vm);
    if (events.length > 0) assert.equal(before?.attachEpoch, look.attachEpoch);
    this.#stop(events, `open ${look.attachEpoch}`);
  }

  /** @param epoch access epoch of the vault, which the open returns */
  start(shown: Shown, epoch: number): void {
    if (this.vm.status !== 'active' || this.vm.power.state !== 'stopped') return;
    this.commit(start(ask('s'))(this.vm));
    if (shown !== undefined) {
      this.commit(startFailed(at, 's', failure, [])(this.vm));
      return;
    }
    this.#attachEpoch += 1;
    this.commit(disksOpened(at, 's', openedAt(epoch, [os, data], this.#attachEpoch))(this.vm));
    assert.ok(this.#remembered.every(({ accessEpoch }) => accessEpoch <= epoch));
    this.commit(guestStarted(at, 's')(this.vm));
  }

  #opened() {
    return this.vm.status === 'active' ? this.vm.disks.find((one) => one.disk === data.disk) : undefined;
  }

  /** Each cause stops the machine at most once, and ends the open that it concerns. */
  #stop(events: readonly VmEvent[], cause: string): void {
    this.commit(events);
    if (!events.some(({ type }) => type === 'VmStopping')) return;
    assert.ok(!this.#stoppedBy.has(cause), `${cause} stopped the machine a second time`);
    this.#stoppedBy.add(cause);
    this.commit(guestStopped(at, 'k')(this.vm));
  }
}

const pick = <One>(all: readonly One[], which: number): One | undefined => all[which % Math.max(1, all.length)];

/** A vault, a disk host and one machine. */
class World {
  readonly #machine = new Machine();
  readonly #losses: SetLoss[] = [];
  #epoch = 1;
  #reason: AccessReason | undefined;
  #isCutOff = false;

  take(step: Step): void {
    const machine = this.#machine;
    switch (step.do) {
      case 'lose':
        this.#epoch += 1;
        this.#reason = 'KEY_DISABLED';
        this.#losses.push({ ...key, reason: this.#reason, since: at, traceId: '', accessEpoch: this.#epoch });
        return;
      case 'restore':
        // No event of the vault: a key that becomes valid by time is restored at the number of its loss.
        this.#reason = undefined;
        return;
      case 'cut off':
      case 'reconnect':
        this.#isCutOff = step.do === 'cut off';
        return;
      case 'look':
        machine.look(this.#shown());
        return;
      case 'start':
        machine.start(this.#shown(), this.#epoch);
        return;
      case 'hear loss': {
        const loss = pick(this.#losses, step.which);
        if (loss) machine.hear(loss);
        return;
      }
      case 'hear return':
        machine.commit(keyAccessReturned(at, key)(machine.vm));
        return;
      case 'act on look': {
        const seen = pick(machine.looks, step.which);
        if (seen) machine.act(seen);
        return;
      }
    }
  }

  /** Delivers every loss, then lets the sweep look at the current state. */
  settle(): void {
    const machine = this.#machine;
    for (const loss of this.#losses) machine.hear(loss);
    const shown = this.#shown();
    machine.look(shown);
    const last = machine.looks.at(-1);
    if (last) machine.act(last);
    if (shown === undefined) machine.commit(keyAccessReturned(at, key)(machine.vm));
    else {
      const loss = { ...key, reason: shown, since: at, traceId: '', accessEpoch: 0 };
      machine.commit(explainOutage(loss, at)(machine.vm));
    }
  }

  /** A machine whose key is lost has stopped, and shows why. */
  check(): void {
    const { vm } = this.#machine;
    assert.ok(vm.status === 'active');
    const shown = this.#shown();
    if (shown === undefined) return;
    assert.equal(vm.power.state, 'stopped');
    // A known decision of the vault has replaced the reason of an outage.
    const blockers = vm.blocked.map((one) => one.reason);
    if (shown !== 'KEY_VAULT_UNREACHABLE') assert.ok(!blockers.includes('KEY_VAULT_UNREACHABLE'));
    assert.ok(stoppingLossOf(vm) !== undefined || vm.failure !== undefined);
  }

  #shown(): Shown {
    return this.#reason ?? (this.#isCutOff ? 'KEY_VAULT_UNREACHABLE' : undefined);
  }
}

const step = fc.oneof(
  fc.record({ do: fc.constantFrom('lose', 'restore', 'cut off', 'reconnect', 'look', 'start') }),
  fc.record({ do: fc.constantFrom('hear loss', 'hear return', 'act on look'), which: fc.nat(20) }),
);

test('G2, G3, VM-45: in any order of messages, each loss stops a machine at most once, and never a later start', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const world = new World();
      for (const one of steps) world.take(one);
      world.settle();
      world.check();
    }),
    { numRuns: 3_000 },
  );
});
