import type { Condition, Experiment } from '../../experiment.ts';
import type { IoRecord, MachineRecord, PowerRecord, RunRecord, StepRecord } from '../../record.ts';
import type { GroupFigures, Quantiles, RuleVerdict, Verdict } from '../../verdict.ts';

/** When the timeline starts. */
export const startMs = Date.UTC(2026, 10, 27, 17, 0, 0);
/** When the role was removed, as identity stored it. */
export const lossMs = startMs + 230;
const endMs = startMs + 30_000;

const condition = (text: string, expression: Condition['expression'], line: number): Condition => ({
  text,
  expression,
  line,
});

const within = (of: string, name: string, limitMs: number, line: number, from?: string): Condition =>
  condition(
    `${of}.${name} <= ${from === undefined ? '' : `${from} + `}${limitMs / 1_000}s`,
    {
      kind: 'compare',
      left: { quantity: { of, name }, offset: 0, hasUnit: false },
      operator: '<=',
      right: { ...(from === undefined ? {} : { quantity: quantityOf(from) }), offset: limitMs, hasUnit: true },
    },
    line,
  );

const quantityOf = (text: string) => {
  const [of = '', name = ''] = text.split('.');
  return { of, name };
};

/** The example of the guide, shortened to 30 s. */
export const experiment: Experiment = {
  title: 'Friday 17:00: a role is removed while the vault is paused',
  seed: 7,
  settings: { LEASE_TTL_MS: '2000', AUTHZ_TTL_MS: '1000' },
  settingLines: {},
  estate: {
    kind: 'planned',
    groups: [
      { name: 'premium', machines: 2, disks: [{ class: 'premium-ssd', key: 'k1' }], key: 'k1' },
      {
        name: 'ultra',
        machines: 1,
        disks: [
          { class: 'standard-ssd', key: 'platform' },
          { class: 'ultra', key: 'k1' },
        ],
        key: 'k1',
      },
      { name: 'control', machines: 2, disks: [{ class: 'premium-ssd', key: 'other' }], key: 'other' },
    ],
  },
  steady: [{ line: 8, kind: 'services-ready' }],
  timeline: [
    { name: 'kill nats', atMs: 0, action: 'kill', targets: ['nats'], forMs: 12_000, options: {}, line: 10 },
    { name: 'pause key-vault', atMs: 0, action: 'pause', targets: ['key-vault'], forMs: 6_000, options: {}, line: 11 },
    { name: 'loss', atMs: 200, action: 'remove-role', targets: ['premium'], options: {}, line: 12 },
    {
      name: 'give-back loss',
      atMs: 20_000,
      action: 'give-back',
      targets: ['loss'],
      options: { start: true },
      line: 13,
    },
  ],
  proof: [{ line: 14, of: 'loss', see: 'unwrap-refused', withinMs: 5_000 }],
  abort: [],
  expect: [
    within('premium', 'lastGoodWrite', 3_000, 17, 'loss'),
    within('premium', 'stopped', 5_000, 18, 'key-vault.resumed'),
    condition('ultra.running', { kind: 'holds', quantity: { of: 'ultra', name: 'running' } }, 19),
    within('control', 'gap', 1_500, 20),
    condition(
      'bytesLost == 0',
      {
        kind: 'compare',
        left: { quantity: { of: '', name: 'bytesLost' }, offset: 0, hasUnit: false },
        operator: '==',
        right: { offset: 0, hasUnit: false },
      },
      21,
    ),
    within('premium', 'back', 30_000, 22),
  ],
};

const step = (
  name: string,
  action: string,
  targets: readonly string[],
  atMs: number,
  more: Partial<StepRecord> = {},
): StepRecord => ({
  name,
  action,
  targets,
  plannedMs: startMs + atMs,
  invokedMs: startMs + atMs + 4,
  doneMs: startMs + atMs + 30,
  effectMs: startMs + atMs + 30,
  ...more,
});

const steps: readonly StepRecord[] = [
  step('kill nats', 'kill', ['nats'], 0),
  step('pause key-vault', 'pause', ['key-vault'], 0),
  step('loss', 'remove-role', ['premium'], 200, { traceId: 'c'.repeat(32), keyVersions: ['k1/1'] }),
  step('undo pause key-vault', 'pause', ['key-vault'], 6_000, { undoes: 'pause key-vault' }),
  step('undo kill nats', 'kill', ['nats'], 12_000, { undoes: 'kill nats' }),
  step('give-back loss', 'give-back', ['loss'], 20_000, { undoes: 'loss' }),
];

interface Life {
  readonly name: string;
  readonly group: string;
  /** The last good operation; then refusals until it stops, and good operations again. Undefined: it works until the end. */
  readonly lastGoodMs?: number;
  readonly stoppedMs?: number;
  readonly backMs?: number;
}

const lives: readonly Life[] = [
  { name: 'premium-1', group: 'premium', lastGoodMs: 2_300, stoppedMs: 4_100, backMs: 22_000 },
  { name: 'premium-2', group: 'premium', lastGoodMs: 2_410, stoppedMs: 5_150, backMs: 23_100 },
  { name: 'ultra-1', group: 'ultra' },
  { name: 'control-1', group: 'control' },
  { name: 'control-2', group: 'control' },
];

const machineOf = ({ name, group, stoppedMs, backMs }: Life): MachineRecord => {
  const planned = experiment.estate.kind === 'planned' ? experiment.estate.groups : [];
  const own = planned.find((one) => one.name === group);
  const change = (atMs: number, state: PowerRecord['state'], reason = ''): PowerRecord => ({
    atMs: startMs + atMs,
    state,
    reason,
    traceId: '',
  });
  return {
    name: `subscriptions/s1/resourceGroups/rg/virtualMachines/${name}`,
    group,
    disks: (own?.disks ?? []).map((disk, n) => ({ name: `${name}-${n}`, ...disk, keyVersion: `${disk.key}/1` })),
    power: [
      change(-9_000, 'running'),
      ...(stoppedMs === undefined
        ? []
        : [change(stoppedMs - 300, 'stopping', 'ACCESS_DENIED'), change(stoppedMs, 'stopped', 'ACCESS_DENIED')]),
      ...(backMs === undefined ? [] : [change(backMs - 900, 'starting'), change(backMs, 'running')]),
    ],
    starts: [],
  };
};

const ioOf = ({ name, group, lastGoodMs, stoppedMs, backMs }: Life): readonly IoRecord[] => {
  const { name: machine, disks } = machineOf({ name, group });
  const every = 110 + (name.length % 3) * 15;
  return Array.from({ length: Math.floor(36_000 / every) }, (_, seq) => -6_000 + seq * every).flatMap((at, seq) => {
    const isOff = stoppedMs !== undefined && at > stoppedMs && at < (backMs ?? Infinity);
    if (isOff) return [];
    const ok = lastGoodMs === undefined || at <= lastGoodMs || at >= (backMs ?? Infinity);
    const times = { invokedMs: startMs + at - 8, completedMs: startMs + at };
    return [
      {
        machine,
        disk: disks[0]?.name ?? '',
        op: seq % 3 === 0 ? ('read' as const) : ('write' as const),
        seq,
        ...times,
        invokedMonotonicMs: times.invokedMs - startMs,
        completedMonotonicMs: at,
        ok,
        reason: ok ? '' : 'KEY_VAULT_UNREACHABLE',
      },
    ];
  });
};

const recordOf = (all: readonly Life[], more: Partial<RunRecord> = {}): RunRecord => ({
  run: {
    id: 'run-7',
    target: 'local',
    seed: 7,
    startedMs: startMs,
    endedMs: endMs,
    problems: [],
    versions: { node: 'v24.1.0', postgres: '18.0', nats: '2.12.0' },
  },
  steps,
  machines: all.map(machineOf),
  io: all.flatMap(ioOf).toSorted((a, b) => a.completedMs - b.completedMs),
  sightings: [],
  content: { disksCompared: 6, bytesCompared: 48_300_000, bytesLost: 0 },
  guarantees: [],
  ...more,
});

/** Quantiles of machines that took these times, in milliseconds. */
const quantiles = (...sorted: readonly number[]): Quantiles => ({
  count: sorted.length,
  p50: sorted[Math.ceil(sorted.length / 2) - 1] ?? null,
  p95: sorted.at(-1) ?? null,
  p99: sorted.at(-1) ?? null,
  max: sorted.at(-1) ?? null,
});

const figures = (group: string, more: Partial<GroupFigures>): GroupFigures => ({
  group,
  role: 'treatment',
  machines: 2,
  lastGoodRead: quantiles(),
  lastGoodWrite: quantiles(),
  stopped: quantiles(),
  startRefused: quantiles(),
  back: quantiles(),
  gap: quantiles(140, 160),
  failedOperations: 0,
  ...more,
});

const groups: readonly GroupFigures[] = [
  figures('control', { role: 'control' }),
  figures('premium', {
    lastGoodRead: quantiles(2_000, 2_120),
    lastGoodWrite: quantiles(2_070, 2_180),
    stopped: quantiles(3_870, 4_920),
    back: quantiles(1_970, 3_070),
    gap: quantiles(19_700, 20_690),
    failedOperations: 40,
  }),
  figures('ultra', { machines: 1 }),
];

const rule = (kind: RuleVerdict['kind'], text: string, seen: string, more: Partial<RuleVerdict> = {}): RuleVerdict => ({
  kind,
  text,
  seen,
  result: 'held',
  ...more,
});

const rules: readonly RuleVerdict[] = [
  rule('expectation', 'premium.lastGoodWrite <= loss + 3s', '2.18 s (premium-2)'),
  rule('expectation', 'premium.stopped <= key-vault.resumed + 5s', '0.9 s before key-vault resumed'),
  rule('expectation', 'ultra.running', '1 of 1 runs'),
  rule('expectation', 'control.gap <= 1.5s', '160 ms'),
  rule('expectation', 'bytesLost == 0', '0 of 48,300,000'),
  rule('expectation', 'premium.back <= 30s', '3.07 s (premium-2)'),
  rule('proof', 'loss: unwrap-refused within 5s', 'refused 2.01 s after the effect'),
  rule('control', 'control had good operations', '548 operations, 0 failed'),
  rule('steady', 'services: ready', 'all of 5'),
  ...['premium-1', 'premium-2', 'ultra-1'].flatMap((machine) => [
    rule('guarantee', `G1 ${machine}`, 'no plaintext after the bound'),
    rule('guarantee', `G5 ${machine}`, 'stopped with a reason'),
  ]),
];

const heldVerdict: Verdict = {
  outcome: 'held',
  because: 'All 6 expectations, 1 proof and 6 guarantees hold.',
  problems: [],
  rules,
  groups,
  bytesCompared: 48_300_000,
  bytesLost: 0,
};

/** A run and its verdict. */
export interface Case {
  readonly experiment: Experiment;
  readonly record: RunRecord;
  readonly verdict: Verdict;
}

const broken = (text: string, change: Partial<RuleVerdict>): readonly RuleVerdict[] =>
  rules.map((one) => (one.text === text ? { ...one, ...change } : one));

/** One run of each outcome. */
export const cases: Readonly<Record<Verdict['outcome'], Case>> = {
  held: { experiment, record: recordOf(lives), verdict: heldVerdict },
  violated: {
    experiment,
    record: recordOf(
      lives.map((life) => (life.name === 'premium-2' ? { ...life, lastGoodMs: 7_300, stoppedMs: 11_800 } : life)),
    ),
    verdict: {
      ...heldVerdict,
      outcome: 'violated',
      because: 'premium.lastGoodWrite <= loss + 3s does not hold: 7.07 s (premium-2).',
      rules: broken('premium.lastGoodWrite <= loss + 3s', {
        result: 'violated',
        seen: '7.07 s (premium-2)',
        firstBreak:
          'write 84 of disk premium-2-0 by premium-2, invoked 3.01 s after the loss, completed 3.02 s after it',
      }),
      groups: groups.map((one) =>
        one.group === 'premium'
          ? { ...one, lastGoodWrite: quantiles(2_070, 7_070), stopped: quantiles(3_870, 11_570) }
          : one,
      ),
    },
  },
  aborted: {
    experiment,
    record: recordOf(
      lives.map(({ backMs: _, ...life }) => life),
      {
        run: { ...recordOf([]).run, endedMs: startMs + 9_000, abortedBy: 'control: failed > 0' },
        steps: steps.filter(({ plannedMs }) => plannedMs < startMs + 9_000),
      },
    ),
    verdict: { ...heldVerdict, outcome: 'aborted', because: 'The abort condition control: failed > 0 was met.' },
  },
  inconclusive: {
    experiment,
    record: recordOf(lives, {
      steps: steps.map((one) =>
        one.name === 'loss' ? { ...one, invokedMs: one.plannedMs + 740, effectMs: one.plannedMs + 770 } : one,
      ),
    }),
    verdict: {
      ...heldVerdict,
      outcome: 'inconclusive',
      because: 'A step came too late.',
      problems: ['“loss” was injected 740 ms late; 500 ms are allowed'],
    },
  },
  vacuous: {
    experiment,
    record: recordOf(lives.filter(({ group }) => group !== 'ultra')),
    verdict: {
      ...heldVerdict,
      outcome: 'vacuous',
      because: 'One expectation was never put to the test.',
      rules: broken('ultra.running', { result: 'vacuous', seen: 'group ultra has no machines' }),
    },
  },
};

/** The same with a large group: 60 machines that stop at different times, one of which does not start again, and 20 of the control group. */
export const largeCase: Case = {
  experiment,
  record: recordOf([
    ...Array.from(
      { length: 60 },
      (_, n): Life => ({
        name: `premium-${n + 1}`,
        group: 'premium',
        lastGoodMs: 1_800 + n * 10,
        stoppedMs: 3_000 + n * 40,
        ...(n === 59 ? {} : { backMs: 21_500 + n * 50 }),
      }),
    ),
    ...Array.from({ length: 20 }, (_, n): Life => ({ name: `control-${n + 1}`, group: 'control' })),
  ]),
  verdict: heldVerdict,
};
