import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { VmEvent } from './events.ts';
import { instanceViewOf } from './instance-view.ts';
import type { Failure, KeyLoss } from './machine.ts';
import {
  at,
  deallocatedVm,
  disk,
  diskOf,
  fold,
  lossOf,
  openedAt,
  running,
  specFor,
  stopped,
  vm,
  work,
} from './test-machine.ts';

const disks = [disk('os', 0, 'PREMIUM_SSD'), disk('a', 1, 'PREMIUM_SSD', 'one'), disk('b', 2, 'ULTRA', 'two')];
const lossAt = (name: string, set: string, reason: KeyLoss['reason']): KeyLoss => ({
  ...lossOf(set, 7),
  reason,
  disk: diskOf(name),
});
const failed = (code: string): Failure => ({
  operation: 'start',
  operationId: 's',
  status: 'FAILED_PRECONDITION',
  code,
  message: `because of ${code}`,
  at,
});
const startOf = (failure: Failure, blocked: readonly KeyLoss[] = []): readonly VmEvent[] => [
  ...stopped(disks),
  { type: 'VmStarting', work: work('start', 's'), from: 'stopped', at },
  { type: 'VmStartFailed', failure, blocked, at },
];
const view = (events: readonly VmEvent[]) => instanceViewOf({ id: vm, state: fold(events), version: events.length });
const of = (events: readonly VmEvent[], kind: string) =>
  view(events).statuses.filter(({ code }) => code.startsWith(`${kind}/`));

test('VM-05: a machine has one provisioning status, with code and message after a failure, and one power status', () => {
  const making: VmEvent = { type: 'VmCreationStarted', spec: specFor(disks), disks, work: work('create', 'c'), at };
  const histories = [
    [[making], 'creating', 'creating'],
    [[making, { type: 'VmCreated', opened: openedAt(5, disks), disks, at }], 'creating', 'starting'],
    [running(disks), 'succeeded', 'running'],
    [[...running(disks), { type: 'VmStopping', work: work('powerOff', 'p'), at }], 'updating', 'stopping'],
    [stopped(disks), 'succeeded', 'stopped'],
    [deallocatedVm(disks), 'succeeded', 'deallocated'],
    [[...stopped(disks), { type: 'VmDeleting', work: work('delete', 'x'), at }], 'deleting', 'stopped'],
    [startOf(failed('KEY_DISABLED')), 'failed/KeyVaultKeyNotEnabled', 'stopped'],
    [startOf(failed('START_TIMED_OUT')), 'failed/START_TIMED_OUT', 'stopped'],
  ] as const satisfies readonly (readonly [readonly VmEvent[], string, string])[];
  for (const [events, provisioning, power] of histories) {
    const [first, ...others] = of(events, 'ProvisioningState');
    assert.deepEqual([first?.code, others], [`ProvisioningState/${provisioning}`, []]);
    const isFailed = provisioning.startsWith('failed');
    assert.equal(first?.level, isFailed ? 'ERROR' : 'INFO');
    assert.match(first?.message ?? 'none', isFailed ? /^because of [A-Z_]+$/ : /^$/);
    assert.deepEqual(
      of(events, 'PowerState').map(({ code, displayStatus }) => [code, displayStatus]),
      [[`PowerState/${power}`, `VM ${power}`]],
    );
    assert.equal(view(events).statuses.length, 2);
  }
});

test('VM-06: each disk has a status; a disk that blocks the start has its own error', () => {
  const blocked = [lossAt('a', 'one', 'KEY_DISABLED'), lossAt('b', 'two', 'KEY_PURGED')];
  const shown = view(startOf(failed('KEY_DISABLED'), blocked)).disks.map(({ name, statuses }) => [
    name,
    statuses.map(({ code, level }) => [code, level]),
  ]);
  assert.deepEqual(shown, [
    [diskOf('os'), [['ProvisioningState/succeeded', 'INFO']]],
    [diskOf('a'), [['ProvisioningState/failed/KeyVaultKeyNotEnabled', 'ERROR']]],
    [diskOf('b'), [['ProvisioningState/failed/KeyVaultKeyPurged', 'ERROR']]],
  ]);
  const messages = view(startOf(failed('KEY_DISABLED'), blocked)).disks.map(({ statuses }) => statuses[0]?.message);
  assert.ok(messages[1]?.includes(blocked[0]?.set ?? '-') && messages[2]?.includes(blocked[1]?.set ?? '-'));
  assert.match(messages[2] ?? '', /is lost for good\.$/);
});

test('VM-06: while a machine is off, a disk also shows a loss that is known of its key, unless it blocks the start itself', () => {
  const events = startOf(failed('KEY_DISABLED'), [lossAt('a', 'one', 'KEY_DISABLED')]);
  const currentLosses = [lossAt('a', 'one', 'KEY_EXPIRED'), lossAt('b', 'two', 'KEY_DELETED')];
  const { disks: shown } = instanceViewOf({ id: vm, state: fold(events), version: events.length }, currentLosses);
  assert.deepEqual(
    shown.map(({ statuses }) => statuses.map(({ code }) => code)),
    [
      ['ProvisioningState/succeeded'],
      ['ProvisioningState/failed/KeyVaultKeyNotEnabled'],
      ['ProvisioningState/failed/KeyVaultKeyNotFound'],
    ],
  );
});
