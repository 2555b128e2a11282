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

/** A vault, a disk host and one machine. */
const createWorld = () => {
  let vm: Vm = fold(running([os, data], 1));
  let epoch = 1;
  let attachEpoch = 1;
  let reason: AccessReason | undefined;
  let isCutOff = false;
  const losses: SetLoss[] = [];
  const remembered: SetLoss[] = [];
  const looks: SeenLost[] = [];
  const stoppedBy = new Set<string>();

  const commit = (events: readonly VmEvent[]): void => {
    vm = events.reduce(evolve, vm);
  };
  const opened = () => (vm.status === 'active' ? vm.disks.find((one) => one.disk === data.disk) : undefined);
  /** Each cause stops the machine at most once, and ends the open that it concerns. */
  const stop = (events: readonly VmEvent[], cause: string): void => {
    commit(events);
    if (!events.some(({ type }) => type === 'VmStopping')) return;
    assert.ok(!stoppedBy.has(cause), `${cause} stopped the machine a second time`);
    stoppedBy.add(cause);
    commit(guestStopped(at, 'k')(vm));
  };
  const hear = (loss: SetLoss): void => {
    remembered.push(loss);
    const seen = opened()?.accessEpoch ?? 0;
    const events = applyKeyLoss({ loss, work: work('keyStop', 'k'), isInstant: false })(vm);
    if (events.some(({ type }) => type === 'VmStopping')) assert.ok(seen < loss.accessEpoch);
    stop(events, `loss ${loss.accessEpoch}`);
  };
  const seenNow = (): AccessReason | undefined => reason ?? (isCutOff ? 'KEY_VAULT_UNREACHABLE' : undefined);
  const act = (look: SeenLost): void => {
    const before = opened();
    const events = stopForLostDisks([look], { work: work('keyStop', 'k'), isInstant: false })(vm);
    if (events.length > 0) assert.equal(before?.attachEpoch, look.attachEpoch);
    stop(events, `open ${look.attachEpoch}`);
  };
  const look = (): void => {
    const says = seenNow();
    const open = opened();
    if (!says || open?.access !== 'open') return;
    const loss = { ...key, reason: says, disk: data.disk, since: at, traceId: '', accessEpoch: 0 };
    looks.push({ loss, attachEpoch: open.attachEpoch });
  };
  const startIt = (): void => {
    if (vm.status !== 'active' || vm.power.state !== 'stopped') return;
    commit(start(ask('s'))(vm));
    if (seenNow() !== undefined) {
      commit(startFailed(at, 's', failure, [])(vm));
      return;
    }
    attachEpoch += 1;
    commit(disksOpened(at, 's', openedAt(epoch, [os, data], attachEpoch))(vm));
    assert.ok(remembered.every(({ accessEpoch }) => accessEpoch <= epoch));
    commit(guestStarted(at, 's')(vm));
  };
  return {
    take(step: Step): void {
      const pick = <One>(all: readonly One[], which: number): One | undefined => all[which % Math.max(1, all.length)];
      switch (step.do) {
        case 'lose':
          epoch += 1;
          reason = 'KEY_DISABLED';
          losses.push({ ...key, reason, since: at, traceId: '', accessEpoch: epoch });
          return;
        case 'restore':
          // No event of the vault: a key that becomes valid by time is restored at the number of its loss.
          reason = undefined;
          return;
        case 'cut off':
        case 'reconnect':
          isCutOff = step.do === 'cut off';
          return;
        case 'look':
          look();
          return;
        case 'start':
          startIt();
          return;
        case 'hear loss': {
          const loss = pick(losses, step.which);
          if (loss) hear(loss);
          return;
        }
        case 'hear return':
          commit(keyAccessReturned(at, key)(vm));
          return;
        case 'act on look': {
          const seen = pick(looks, step.which);
          if (seen) act(seen);
          return;
        }
      }
    },
    /** Delivers every loss, then lets the sweep look at the current state. */
    settle(): void {
      for (const loss of losses) hear(loss);
      look();
      const last = looks.at(-1);
      if (last) act(last);
      const says = seenNow();
      if (says === undefined) commit(keyAccessReturned(at, key)(vm));
      else commit(explainOutage({ ...key, reason: says, since: at, traceId: '', accessEpoch: 0 }, at)(vm));
    },
    check(): void {
      assert.ok(vm.status === 'active');
      const says = seenNow();
      if (says === undefined) return;
      assert.equal(vm.power.state, 'stopped');
      // A known decision of the vault has replaced the reason of an outage.
      const inTheWay = vm.blocked.map((one) => one.reason);
      if (says !== 'KEY_VAULT_UNREACHABLE') assert.ok(!inTheWay.includes('KEY_VAULT_UNREACHABLE'));
      assert.ok(stoppingLossOf(vm) !== undefined || vm.failure !== undefined);
    },
  };
};

const step = fc.oneof(
  fc.record({ do: fc.constantFrom('lose', 'restore', 'cut off', 'reconnect', 'look', 'start') }),
  fc.record({ do: fc.constantFrom('hear loss', 'hear return', 'act on look'), which: fc.nat(20) }),
);

test('G2, G3, VM-45: in any order of messages, each loss stops a machine at most once, and never a later start', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const world = createWorld();
      for (const one of steps) world.take(one);
      world.settle();
      world.check();
    }),
    { numRuns: 3_000 },
  );
});
