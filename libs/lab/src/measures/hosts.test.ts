import assert from 'node:assert/strict';
import { test } from 'node:test';
import { evaluate } from '../expressions/evaluate.ts';
import { parseExpression } from '../expressions/parse.ts';
import type { MachineRecord, RunRecord } from '../record.ts';
import { experimentOf, heldRecord } from '../verdict/test-record.ts';

const experiment = experimentOf(`title: t
estate: {diskHosts: 2, vmHosts: 2, premium: {machines: 2, disks: [premium-ssd], key: k1}}
timeline: [{at: 0s, drain-host: {vm-host-of: premium}, as: drain}, {at: 1s, move-disk: premium, to: disk-host-1, as: move}]
`);
const startedMs = 1_000;

const machine = (name: string, more: Partial<MachineRecord>): MachineRecord => ({
  ...{ name: `machines/${name}`, group: 'premium', starts: [] },
  disks: [{ name: `disks/${name}`, class: 'premium-ssd', key: 'k1', keyVersion: 'v', diskHost: 'disk-host-0' }],
  power: [{ atMs: 500, state: 'running', reason: '', traceId: '' }],
  placements: [{ atMs: 400, vmHost: 'vm-host-0', number: 1 }],
  ...more,
});
const elsewhere = (atMs: number, isFenced?: true): Partial<MachineRecord> => ({
  placements: [
    { atMs: 400, vmHost: 'vm-host-0', number: 1 },
    { atMs, vmHost: 'vm-host-1', number: 2 },
  ],
  power: [
    { atMs: atMs - 10, state: 'stopped', reason: '', traceId: '', ...(isFenced ? { isFenced } : {}) },
    { atMs: atMs + 50, state: 'running', reason: '', traceId: '' },
  ],
});
const event = (stream: string, type: string, time: number, data: object = {}) => ({
  service: 's',
  stream,
  type,
  time,
  data,
});

const recordOf = (machines: readonly MachineRecord[], events: readonly object[] = []): RunRecord => {
  const { run, ...rest } = heldRecord();
  const step = { name: 'drain', action: 'drain-host', targets: ['vm-host-of-premium'], hosts: ['vm-host-0'] };
  const times = { plannedMs: startedMs, invokedMs: startedMs, effectMs: startedMs, doneMs: startedMs };
  const move = { ...step, name: 'move', action: 'move-disk', targets: ['premium'], hosts: [] };
  return {
    ...{
      ...rest,
      machines,
      steps: [
        { ...step, ...times },
        { ...move, ...times },
      ],
    },
    run: { ...run, startedMs, endedMs: 20_000 },
    raw: { events: events as never, facts: {} },
  };
};
const resultOf = (text: string, record: RunRecord): string => {
  const parsed = parseExpression(text);
  assert.ok('expression' in parsed);
  return evaluate(parsed.expression, experiment, record).result;
};

test('moved is when the last machine runs at another VM host; one that never does breaks a limit', () => {
  const all = recordOf([machine('a', elsewhere(2_000)), machine('b', elsewhere(4_000))]);
  assert.equal(resultOf('premium.moved <= drain + 4s', all), 'held');
  assert.equal(resultOf('premium.moved <= drain + 2s', all), 'violated');
  const one = recordOf([machine('a', elsewhere(2_000)), machine('b', {})]);
  assert.equal(resultOf('premium.moved <= drain + 18s', one), 'violated');
  assert.equal(resultOf('premium.moved >= drain + 1s', one), 'vacuous', 'never is no proof of a lower limit');
  const without = recordOf([machine('a', { placements: [] })]);
  assert.equal(resultOf('premium.moved <= drain + 4s', without), 'vacuous');
});

test('fenced is when the last machine was off by its closed disks, and not by the word of its host', () => {
  const fenced = recordOf([machine('a', elsewhere(2_000, true))]);
  assert.equal(resultOf('premium.fenced <= drain + 2s', fenced), 'held');
  const gone = recordOf([machine('a', elsewhere(2_000))]);
  assert.equal(resultOf('premium.fenced <= drain + 2s', gone), 'violated');
});

test('disksMoved and the states of hosts are read from the stored events', () => {
  const moved = (name: string, time: number) => event(`disk-disks/${name}`, 'VolumeMoved', time, { host: 'disk-1' });
  const machines = [machine('a', {}), machine('b', {})];
  const events = [event('vmhost-vm-host-0', 'VmHostDrained', 3_000), moved('a', 2_000), moved('b', 5_000)];
  const record = recordOf(machines, events);
  assert.equal(resultOf('premium.disksMoved <= move + 4s', record), 'held');
  assert.equal(resultOf('premium.disksMoved <= move + 3s', record), 'violated');
  assert.equal(resultOf('premium.disksMoved <= move + 4s', recordOf(machines, events.slice(0, 2))), 'violated');
  assert.equal(resultOf('vm-host-of-premium.drained <= drain + 2s', record), 'held');
  assert.equal(resultOf('vm-host-of-premium.drained <= drain + 1s', record), 'violated');
  assert.equal(resultOf('vm-host-of-premium.drained <= drain + 9s', recordOf(machines, [])), 'violated');
});
