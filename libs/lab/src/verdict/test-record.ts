import assert from 'node:assert/strict';
import type { Experiment } from '../experiment.ts';
import { problemLines, readExperiment } from '../file/read-experiment.ts';
import type { IoRecord, MachineRecord, RunRecord, StepRecord } from '../record.ts';
import { verdictOfRun } from './verdict-of-run.ts';

/** The experiment of a valid file. */
export const experimentOf = (text: string): Experiment => {
  const read = readExperiment(text);
  assert.ok('experiment' in read, 'problems' in read ? problemLines('test', read.problems).join('\n') : '');
  return read.experiment;
};

/** The file of the run that `heldRecord` records: the loss of one key, pinned machines and a control. */
export const testFile = `
title: the role is removed while the vault is paused
seed: 7
estate:
  premium: {machines: 2, disks: [premium-ssd], key: k1}
  ultra:   {machines: 1, disks: [standard-ssd: platform, ultra], key: k1}
  control: {machines: 1, disks: [premium-ssd], key: other}
steady: [{services: ready}, {io: premium, gap: 1s}]
timeline:
  - {at: 0s, pause: key-vault, for: 2s}
  - {at: 1s, remove-role: premium, as: loss}
  - {at: 5s, start: ultra}
  - {at: 10s, give-back: loss, start: true}
proof: [{of: loss, see: unwrap-refused, within: 3s}]
abort: [{control: failed > 0}]
expect:
  - premium.lastGoodWrite <= loss + 3s
  - premium.stopped <= key-vault.resumed + 5s
  - ultra.running
  - control.gap <= 1s
  - bytesLost == 0
  - premium.back <= 5s
`;

/** Start of the timeline. */
export const startedMs = 1_000_000;
/** Effect of the loss. */
export const lossMs = startedMs + 1_050;
/** Effect of the give-back. */
export const backMs = startedMs + 10_030;
const endedMs = startedMs + 15_000;

const io = (machine: string, disk: string, fromMs: number, toMs: number, firstSeq: number): IoRecord[] =>
  Array.from({ length: Math.ceil((toMs - fromMs) / 100) }, (_, index) => {
    const invokedMs = fromMs + index * 100;
    return {
      machine,
      disk,
      op: index % 2 === 0 ? 'write' : 'read',
      seq: firstSeq + index,
      invokedMs,
      completedMs: invokedMs + 5,
      invokedMonotonicMs: invokedMs - 900_000,
      completedMonotonicMs: invokedMs - 899_995,
      ok: true,
      reason: '',
    };
  });

const machine = (name: string, group: string, key: string, change: Partial<MachineRecord> = {}): MachineRecord => ({
  name: `groups/g/virtualMachines/${name}`,
  group,
  disks: [
    {
      name: `groups/g/disks/${name}-d0`,
      class: 'premium-ssd',
      key,
      keyVersion: `vaults/${key}/keys/${key}/versions/1`,
    },
  ],
  power: [{ atMs: startedMs - 10_000, state: 'running', reason: '', traceId: '' }],
  starts: [],
  ...change,
});

const stoppedAndBack = (stoppedMs: number): MachineRecord['power'] => [
  { atMs: startedMs - 10_000, state: 'running', reason: '', traceId: '' },
  { atMs: stoppedMs - 200, state: 'stopping', reason: 'ACCESS_DENIED', traceId: 't1' },
  { atMs: stoppedMs, state: 'stopped', reason: 'ACCESS_DENIED', traceId: 't1' },
  { atMs: backMs + 500, state: 'starting', reason: '', traceId: 't2' },
  { atMs: backMs + 900, state: 'running', reason: '', traceId: 't2' },
];

const step = (
  name: string,
  action: string,
  targets: readonly string[],
  atMs: number,
  change: Partial<StepRecord> = {},
): StepRecord => ({
  name,
  action,
  targets,
  plannedMs: startedMs + atMs,
  invokedMs: startedMs + atMs + 4,
  doneMs: startedMs + atMs + 60,
  ...change,
});

/** Full name of a machine. */
export const nameOf = (machineName: string): string => `groups/g/virtualMachines/${machineName}`;
/** Full name of the disk of a machine. */
export const diskOf = (machineName: string): string => `groups/g/disks/${machineName}-d0`;

/** The record of a run in which everything that `testFile` expects held. */
export function heldRecord(): RunRecord {
  const busy = (name: string, toMs: number, fromMs = startedMs - 3_000, firstSeq = 1): IoRecord[] =>
    io(nameOf(name), diskOf(name), fromMs, toMs, firstSeq);
  return {
    run: {
      id: 'run-1',
      target: 'simulated',
      seed: 7,
      startedMs,
      endedMs,
      problems: [],
      versions: { interlock: 'test' },
    },
    steps: [
      step('pause-key-vault', 'pause', ['key-vault'], 0),
      step('loss', 'remove-role', ['premium'], 1_000, {
        effectMs: lossMs,
        traceId: 't1',
        keyVersions: ['vaults/k1/keys/k1/versions/1'],
      }),
      step('undo pause-key-vault', 'undo', ['key-vault'], 2_000, { undoes: 'pause-key-vault' }),
      step('start-ultra', 'start', ['ultra'], 5_000),
      step('give-back-loss', 'give-back', ['premium'], 10_000, { undoes: 'loss', effectMs: backMs }),
    ],
    machines: [
      machine('premium-1', 'premium', 'k1', { power: stoppedAndBack(startedMs + 4_200) }),
      machine('premium-2', 'premium', 'k1', { power: stoppedAndBack(startedMs + 4_600) }),
      machine('ultra-1', 'ultra', 'k1'),
      machine('control-1', 'control', 'other'),
    ],
    io: [
      ...busy('premium-1', startedMs + 2_000),
      ...busy('premium-1', endedMs, backMs + 1_000, 500),
      ...busy('premium-2', startedMs + 2_400),
      ...busy('premium-2', endedMs, backMs + 1_400, 500),
      ...busy('ultra-1', endedMs),
      ...busy('control-1', endedMs),
    ],
    sightings: [
      {
        see: 'unwrap-refused',
        subject: 'vaults/k1/keys/k1/versions/1',
        atMs: lossMs + 400,
        seen: 'set k1: ACCESS_DENIED',
      },
    ],
    content: { disksCompared: 4, bytesCompared: 40_960, bytesLost: 0 },
    guarantees: [
      { rule: 'G1', subject: 'premium-1', holds: true, seen: 'last good I/O 0.95 s after the loss' },
      { rule: 'G2', subject: 'premium-1', holds: true, seen: 'stopped 3.15 s after the loss' },
    ],
  };
}

/** Changes of the record of `heldRecord`. */
export type Change = (record: RunRecord) => Partial<RunRecord>;

/** The verdict about the changed record. */
export const verdictOf = (change: Change = () => ({}), of = experimentOf(testFile)) => {
  const record = heldRecord();
  return verdictOfRun(of, { ...record, ...change(record) });
};

/** Changes the record of a step. */
export const changeStep =
  (name: string, change: Partial<StepRecord>): Change =>
  ({ steps }) => ({ steps: steps.map((step) => (step.name === name ? { ...step, ...change } : step)) });
/** Changes a machine, named without its group. */
export const changeMachine =
  (name: string, change: (machine: MachineRecord) => Partial<MachineRecord>): Change =>
  ({ machines }) => ({
    machines: machines.map((one) => (one.name === nameOf(name) ? { ...one, ...change(one) } : one)),
  });
/** Changes or removes operations. */
export const changeIo =
  (change: (one: IoRecord) => IoRecord | undefined): Change =>
  ({ io }) => ({ io: io.flatMap((one) => change(one) ?? []) });
/** A good write of a machine on its disk. */
export const operation = (machine: string, atMs: number, change: Partial<IoRecord> = {}): IoRecord => ({
  machine: nameOf(machine),
  disk: diskOf(machine),
  op: 'write',
  seq: 999,
  invokedMs: atMs - 5,
  completedMs: atMs,
  invokedMonotonicMs: atMs - 900_005,
  completedMonotonicMs: atMs - 900_000,
  ok: true,
  reason: '',
  ...change,
});
