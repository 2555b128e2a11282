import assert from 'node:assert/strict';
import { test } from 'node:test';
import { lossOutcome } from '@interlock/access/outcome';
import fc from 'fast-check';
import { evolve } from './decider.ts';
import type { VmEvent } from './events.ts';
import { impactOf } from './impact.ts';
import { stopForKeyLoss } from './key-loss.ts';
import type { PlannedDisk } from './machine.ts';
import { attach, deallocate, powerOff, remove, restart, start } from './operations.ts';
import { disksOpened } from './progress.ts';
import type { Vm } from './state.ts';
import {
  ask,
  at,
  deallocatedVm,
  disk,
  fold,
  openedAt,
  running,
  setOf,
  specFor,
  stopped,
  version1,
  version2,
  work,
} from './test-machine.ts';

const os = disk('os', 0, 'PREMIUM_SSD');
const data = disk('data', 1, 'STANDARD_SSD', 'des');
const ultra = disk('ultra', 2, 'ULTRA', 'des');
const other = disk('other', 3, 'STANDARD_HDD', 'elsewhere');
const supposed = { set: setOf('des'), keyVersions: new Set([version1]) };
const loss = {
  reason: 'KEY_DISABLED',
  set: setOf('des'),
  keyVersion: version1,
  since: at,
  traceId: '',
  accessEpoch: 6,
} as const;
const then = (history: readonly VmEvent[], command: (vm: Vm) => readonly VmEvent[]): readonly VmEvent[] => [
  ...history,
  ...command(fold(history)),
];
const impact = (history: readonly VmEvent[]) => impactOf(fold(history), supposed);

test('CMK-101 to CMK-103: a preview gives the machines that stop or fail at the next start, with their disks', () => {
  assert.deepEqual(impact(running([os, data, ultra, other])), { outcome: 'STOPS', disks: [data.disk, ultra.disk] });
  assert.deepEqual(impact(running([os, ultra])), { outcome: 'FAILS_AT_NEXT_START', disks: [ultra.disk] });
  assert.equal(impact(running([os, other])), undefined);
  for (const off of [stopped([os, data]), deallocatedVm([os, data])]) {
    assert.deepEqual(impact(off), { outcome: 'FAILS_AT_NEXT_START', disks: [data.disk] });
  }
});

test('CMK-100 to CMK-103: the outcome rule for estate files agrees with the impact preview, for any disks', () => {
  const skus = ['STANDARD_HDD', 'STANDARD_SSD', 'PREMIUM_SSD', 'PREMIUM_SSD_V2', 'ULTRA'] as const;
  const anyDisk = fc.record({ sku: fc.constantFrom(...skus), set: fc.constantFrom('des', 'elsewhere', undefined) });
  fc.assert(
    fc.property(fc.array(anyDisk, { maxLength: 5 }), fc.boolean(), (drawn, isOn) => {
      const disks = drawn.map(({ sku, set }, n) => disk(`d${n}`, n + 1, sku, set));
      const under = disks.filter(({ set }) => set === supposed.set);
      const history = isOn ? running([os, ...disks]) : stopped([os, ...disks]);
      const expected = lossOutcome(
        isOn,
        under.map(({ sku }) => sku),
      );
      assert.equal(impact(history)?.outcome, expected);
    }),
  );
});

test('G2: a machine that is starting, restarting, attaching or being created counts as one that runs', () => {
  const creating: VmEvent = {
    type: 'VmCreationStarted',
    spec: specFor([os, data]),
    disks: [os, { ...data, keyVersion: '' }],
    work: work('create', 'c'),
    at,
  };
  const stops = { outcome: 'STOPS', disks: [data.disk] };
  assert.deepEqual(impact([creating]), stops);
  assert.deepEqual(impact(then(stopped([os, data]), start(ask()))), stops);
  assert.deepEqual(impact(then(running([os, data]), restart(ask(), 'r'))), stops);
  assert.deepEqual(impact(then(running([os]), attach(ask(), data, 8))), stops);
});

test('a machine being switched off fails at its next start only; a machine being deleted is not affected', () => {
  const ends = { outcome: 'FAILS_AT_NEXT_START', disks: [data.disk] };
  assert.deepEqual(impact(then(running([os, data]), powerOff(ask(), { isHard: false }))), ends);
  assert.deepEqual(impact(then(running([os, data]), deallocate(ask()))), ends);
  assert.equal(impact(then(running([os, data]), remove(ask()))), undefined);
});

test('CMK-112: a disk under another key version is not affected', () => {
  const moved = [
    ...running([os, data]),
    { type: 'DiskKeyChanged', disk: data.disk, set: data.set, keyVersion: version2, at } as const,
  ];
  assert.equal(impact(moved), undefined);
});

test('for any machine, the preview predicts whether the loss stops it', () => {
  const sku = fc.constantFrom('STANDARD_HDD', 'STANDARD_SSD', 'PREMIUM_SSD', 'PREMIUM_SSD_V2', 'ULTRA');
  const planned = fc
    .array(fc.tuple(sku, fc.constantFrom('', 'des', 'elsewhere')), { maxLength: 4 })
    .map((rows): PlannedDisk[] => [os, ...rows.map(([kind, set], n) => disk(`d${n}`, n, kind, set))]);
  const phase = fc.constantFrom<(disks: readonly PlannedDisk[]) => readonly VmEvent[]>(
    running,
    stopped,
    deallocatedVm,
    (disks) => then(stopped(disks), start(ask())),
    (disks) => then(deallocatedVm(disks), start(ask())),
  );
  fc.assert(
    fc.property(planned, phase, (disks, make) => {
      const before = fold(make(disks));
      const said = impactOf(before, supposed)?.outcome ?? 'NOTHING';
      // An open in progress returns with an older unwrap, then the loss is consumed.
      const opened = disksOpened(at, 'op', openedAt(5, disks, 2))(before).reduce(evolve, before);
      const stops = stopForKeyLoss({ loss, work: work('keyStop', 'k'), isInstant: false })(opened).length > 0;
      assert.equal(said === 'STOPS', stops);
      assert.equal(
        said === 'NOTHING',
        disks.every(({ set }) => set !== supposed.set),
      );
    }),
  );
});
