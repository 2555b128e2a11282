import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Experiment } from '@interlock/lab';
import { runFile } from '../run-file.ts';
import { simulatedTarget } from './target.ts';
import { brokenIn, experimentOf, machineOf, runSimulated } from './test-runs.ts';
import {
  everyFault,
  holdsDuring,
  holdsWithHostsDuring,
  stopMs,
  stopsUntilReturned,
  withHosts,
} from './test-targets.ts';

// One loss by the key and one by a grant. target.long.test.ts plays every loss, and every fault on each of its targets.
for (const loss of ['disable-key: premium', 'remove-policy: premium'])
  test(`CMK-100, CMK-102: "${loss}" stops the machine under the key, but not an ultra one, until access is restored`, () =>
    stopsUntilReturned(loss));

for (const loss of ['recover-vault-without-role: k1', 'delete-vault: k1'])
  test(`CMK-133: the undo of "${loss}" lasts, although identity receives only later that the vault was deleted`, async () => {
    const record = await runSimulated(
      experimentOf([
        'at: 1s, pause: nats, for: 15s',
        // Its vault has roles, not access policies.
        'at: 2s, remove-role: k1, as: before, for: 1s',
        `at: 6s, ${loss}, as: loss`,
        'at: 6500ms, give-back: loss, start: true',
      ]),
    );
    assert.deepEqual(record.run.problems, []);
    assert.deepEqual(brokenIn(record), []);
    assert.equal(record.content.bytesLost, 0);
    assert.equal(machineOf(record, 'premium').power.at(-1)?.state, 'running');
  });

test('CMK-123: a role is removed a second time, under the id that the first undo gave it', async () => {
  const record = await runSimulated(
    experimentOf([
      'at: 1s, remove-role: premium, as: first',
      'at: 9s, give-back: first, start: true',
      'at: 20s, remove-role: premium, as: again',
      'at: 30s, give-back: again, start: true',
    ]),
  );
  assert.deepEqual(record.run.problems, []);
  const second = record.steps.find(({ name }) => name === 'again');
  assert.ok(second?.effectMs !== undefined, 'the second step took a role away');
  const { power } = machineOf(record, 'premium');
  assert.ok(power.some(({ state, atMs }) => state === 'stopped' && atMs >= (second.effectMs ?? 0)));
});

test('CMK-108: data under a purged key counts as lost, and no other data does', async () => {
  const record = await runSimulated(experimentOf(['at: 1s, purge-key: premium, leave: true']));
  assert.deepEqual(brokenIn(record), []);
  assert.ok(record.content.bytesLost > 0 && record.content.bytesLost < record.content.bytesCompared);
});

/** One fault of each kind that has a target. */
const oneOfEachKind = new Map(everyFault.toReversed().map((fault) => [fault.split(':')[0], fault])).values();

for (const fault of oneOfEachKind)
  test(`G1 to G10: no rule is broken when a key is disabled during "${fault}"`, () => holdsDuring(fault));

for (const server of ['nats', 'postgres']) {
  test(`calls of services to ${server} are seen to fail while it is down`, async () => {
    const record = await runSimulated(experimentOf([`at: 1s, kill: ${server}, for: 10s`]));
    const [step] = record.steps;
    const seen = record.sightings.filter(({ see, subject }) => see === 'calls-fail' && subject === server);
    assert.ok(seen.length > 0);
    assert.ok(seen.every(({ atMs }) => atMs >= (step?.invokedMs ?? Number.POSITIVE_INFINITY)));
  });
}

test('slow storage delays the operations of guests, and no rule is broken', async () => {
  const record = await runSimulated(experimentOf(['at: 5s, slow-storage: disk, by: 400ms, for: 10s']));
  assert.deepEqual(brokenIn(record), []);
  const [{ effectMs = Number.NaN } = {}] = record.steps;
  const longest = (fromMs: number, toMs: number): number =>
    Math.max(
      ...record.io
        .filter(({ invokedMs }) => invokedMs >= fromMs && invokedMs < toMs)
        .map(({ invokedMs, completedMs }) => completedMs - invokedMs),
    );
  assert.ok(longest(effectMs, effectMs + 9_000) > 200);
  assert.ok(longest(effectMs - 4_000, effectMs - 1_000) < 200);
  assert.ok(record.io.every(({ ok }) => ok));
});

test('a throttled vault refuses uses of its own keys only', async () => {
  const record = await runSimulated(
    experimentOf(['at: 1s, throttle: premium, for: 12s', 'at: 4s, stop: premium, as: off', 'at: 5s, give-back: off']),
  );
  assert.deepEqual(brokenIn(record), []);
  const ofGroup = (group: string) => record.io.filter(({ machine }) => machine === machineOf(record, group).name);
  assert.ok(ofGroup('premium').some(({ ok }) => !ok) || machineOf(record, 'premium').power.length > 4);
  assert.deepEqual(
    ofGroup('second').filter(({ ok }) => !ok),
    [],
  );
});

test('machines keep running while their key is rotated and while their set gets another key', async () => {
  const record = await runSimulated(
    experimentOf([
      'at: 1s, rotate-key: premium, as: rotated',
      'at: 10s, assign-key: second, to: k1, as: assigned',
      'at: 25s, give-back: assigned',
      'at: 35s, give-back: rotated',
    ]),
  );
  assert.deepEqual([record.run.problems, brokenIn(record)], [[], []]);
  assert.deepEqual(
    record.machines.map(({ power }) => power.length),
    [2, 2, 2],
  );
});

test('a snapshot, a stop and a detach by users are undone', async () => {
  const record = await runSimulated(
    experimentOf([
      'at: 1s, snapshot: second, as: copy',
      'at: 2s, stop: premium, as: off',
      'at: 3s, detach: second, as: detached',
      'at: 8s, give-back: detached',
      'at: 9s, give-back: off',
      'at: 10s, give-back: copy',
    ]),
  );
  assert.deepEqual([record.run.problems, brokenIn(record)], [[], []]);
  assert.deepEqual(
    machineOf(record, 'premium').power.map(({ state, reason }) => [state, reason]),
    ['starting', 'running', 'stopping', 'deallocated', 'starting', 'running'].map((state) => [state, '']),
  );
});

for (const fault of ['kill: { disk-host-of: premium }', 'cut: [{ disk-host-of: premium }, disk]'])
  test(`G1 to G10: no rule is broken when a key is disabled during "${fault}"`, () => holdsWithHostsDuring(fault));

test('G3: the death of one disk host interrupts the I/O of its own disks only', async () => {
  const record = await runSimulated(withHosts(['at: 1s, kill: { disk-host-of: premium }, for: 10s']));
  const [killed, restarted] = record.steps.map(({ effectMs = 0 }) => effectMs);
  const goodMeanwhile = (group: string, key: string): number => {
    const { name, disks } = machineOf(record, group);
    const own = new Set(disks.filter((disk) => disk.key === key).map((disk) => disk.name));
    return record.io.filter(
      ({ machine, disk, ok, invokedMs, completedMs }) =>
        ok && machine === name && own.has(disk) && invokedMs > (killed ?? 0) && completedMs < (restarted ?? 0),
    ).length;
  };
  assert.equal(goodMeanwhile('premium', 'k1'), 0);
  assert.ok(goodMeanwhile('second', 'k2') > 10, 'k2 is on another host');
  for (const { power } of record.machines) assert.equal(power.at(-1)?.state, 'running');
});

test('a simulated cloud has at most four disk hosts', () => {
  const [problem] = simulatedTarget(1).refuse(experimentOf(['at: 1s, kill: nats, for: 1s'], '', undefined, 5));
  assert.match(problem?.message ?? '', /^the estate has 5 disk hosts, and a simulated cloud has at most 4$/);
});

/** The digest of every file of a run's evidence, by name. */
const evidenceOf = async (experiment: Experiment, seed: number): Promise<Readonly<Record<string, string>>> => {
  const parent = mkdtempSync(join(tmpdir(), 'interlock-simulated-'));
  try {
    const folder = join(parent, 'evidence');
    const target = simulatedTarget(seed);
    const place = { target: 'simulated' } as const;
    const { signal } = new AbortController();
    const id = `simulated-${seed}`;
    await runFile({ experiment, text: experiment.title, id, folder, place, target, signal, say: () => undefined });
    const digest = (file: string) =>
      createHash('sha256')
        .update(readFileSync(join(folder, file)))
        .digest('hex');
    return Object.fromEntries(readdirSync(folder).map((file) => [file, digest(file)]));
  } finally {
    rmSync(parent, { recursive: true });
  }
};

test('the same seed gives the same evidence byte for byte; another seed gives other I/O', async () => {
  const experiment = experimentOf([
    'at: 0s, kill: nats, for: 9s',
    'at: 200ms, delete-identity: premium, as: loss',
    'at: 15s, give-back: loss, start: true',
  ]);
  const first = await evidenceOf(experiment, 7);
  assert.ok(['events.jsonl', 'io.jsonl', 'verdict.json', 'report.html'].every((file) => Object.hasOwn(first, file)));
  assert.notEqual((await evidenceOf(experiment, 8))['io.jsonl'], first['io.jsonl']);
  assert.deepEqual(await evidenceOf(experiment, 7), first);
});

test('refuses what the simulation cannot do before anything starts', () => {
  const { refuse } = simulatedTarget(1);
  const messages = (experiment: Parameters<typeof refuse>[0]) => refuse(experiment).map(({ message }) => message);
  const usual = experimentOf(['at: 0s, disable-key: premium, for: 5s']);
  assert.deepEqual(messages({ ...usual, settings: { RATE_LIMIT_VAULT_BURST: '3' } }), [
    'the simulation has no setting RATE_LIMIT_VAULT_BURST',
  ]);
  assert.deepEqual(messages({ ...usual, estate: { kind: 'existing', resourceGroup: 'demo', line: 3 } }), [
    'the simulation has no machines of its own',
  ]);
  const groups = usual.estate.kind === 'planned' ? usual.estate.groups : [];
  const [first] = groups;
  assert.ok(first !== undefined);
  assert.deepEqual(messages({ ...usual, estate: { kind: 'planned', groups: [{ ...first, guest: 'qemu' }] } }), [
    `the machines of ${first.name} run in QEMU, which has no virtual time`,
  ]);
  assert.deepEqual(
    messages(experimentOf(['at: 0s, slow: nats, by: 1s, for: 5s', 'at: 0s, fill-storage: compute, for: 5s'])),
    ['the simulation cannot do slow to nats', 'the simulation cannot do fill-storage to compute'],
  );
});

test('a server that is both down and cut off is reachable again when both faults have ended', async () => {
  const record = await runSimulated(
    experimentOf([
      'at: 0s, kill: nats, for: 3s',
      'at: 1s, cut: [key-vault, nats], for: 30s',
      'at: 5s, disable-key: premium, as: loss',
      'at: 25s, give-back: loss, start: true',
    ]),
  );
  assert.deepEqual([record.run.problems, brokenIn(record)], [[], []]);
  const loss = record.steps.find(({ name }) => name === 'loss')?.effectMs ?? Number.NaN;
  const stopped = machineOf(record, 'premium').power.find(({ state }) => state === 'stopped')?.atMs ?? Number.NaN;
  // key-vault cannot publish, so the disk host finds the loss at its next renewal.
  assert.ok(stopped - loss > stopMs, `${stopped - loss} ms`);
});

test('G7: facts that wait for the bus at the end of a timeline are received before the verdict', async () => {
  const experiment = experimentOf(['at: 10s, assign-key: k1, to: k2', 'at: 20s, kill: nats, for: 20s']);
  const { guarantees, run } = await runSimulated(experiment);
  assert.deepEqual([run.problems, guarantees.filter(({ holds }) => !holds)], [[], []]);
});

test('CMK-106: a machine whose disks a rotation rewrapped may start while their former key version is disabled', async () => {
  const experiment = experimentOf([
    'at: 10s, disable-key: k2, as: loss, for: 10s',
    'at: 10s, rotate-key: k2',
    'at: 14s, start: second',
  ]);
  const record = await runSimulated(experiment);
  assert.deepEqual([record.run.problems, brokenIn(record)], [[], []]);
  const loss = record.steps.find(({ name }) => name === 'loss')?.effectMs ?? Number.NaN;
  const runs = machineOf(record, 'second').power.find(({ state, atMs }) => state === 'running' && atMs > loss);
  assert.ok(runs !== undefined && runs.atMs < loss + 10_000, 'it started during the loss');
});

test('calls to a paused service are seen to fail, although no service calls it', async () => {
  const experiment = experimentOf(
    ['at: 1s, pause: compute, for: 4s'],
    'proof: [{ of: pause-compute, see: calls-fail, within: 3s }]',
  );
  const { sightings } = await runSimulated(experiment);
  assert.ok(sightings.some(({ see, subject }) => see === 'calls-fail' && subject === 'compute'));
});

test("a shift of compute's clock is in the record: what compute stores has the shifted time", async () => {
  const atOf = async (shift: readonly string[]): Promise<number> => {
    const { raw } = await runSimulated(
      experimentOf([...shift, 'at: 2s, disable-key: premium, as: loss', 'at: 20s, give-back: loss, start: true']),
    );
    const stop = raw?.events.find(({ type, data }) => type === 'VmStopping' && Object(data).reason !== undefined);
    assert.ok(stop);
    return Object(stop.data).at - Number(stop.time);
  };
  assert.equal(await atOf([]), 0);
  assert.equal(await atOf(['at: 0s, shift-clock: compute, by: 5m']), 300_000);
});

test('CMK-113: a guest repeats no read that its disk host refused, as a guest process repeats none', async () => {
  const settings = '{ leaseTtl: 2s, authzTtl: 1s, ioPauseTimeout: 1500ms }';
  const experiment = experimentOf(['at: 500ms, kill: key-vault, for: 6s'], '', settings);
  for (let seed = 1; seed <= 6; seed += 1) {
    const record = await runSimulated(experiment, seed);
    const { name } = machineOf(record, 'premium');
    const ofPremium = record.io.filter(({ machine }) => machine === name);
    const lasted = ofPremium.map(({ invokedMs, completedMs }) => completedMs - invokedMs);
    assert.ok(Math.max(...lasted) <= 1_500, `seed ${seed}: an operation lasted ${Math.max(...lasted)} ms`);
    assert.ok(
      ofPremium.some(({ reason }) => reason === 'KEY_VAULT_UNREACHABLE'),
      `seed ${seed}: none failed`,
    );
  }
});

test('G5: the comparison repeats a read that the cloud cannot answer yet, and counts no byte of it as lost', async () => {
  const experiment = experimentOf(['at: 2s, cut: [identity, disk], for: 1180ms']);
  for (const seed of [40, 44]) {
    const { content } = await runSimulated(experiment, seed);
    assert.equal(content?.bytesLost, 0, `seed ${seed}`);
  }
});

test('CMK-105: what users do under a lost key is refused for the true reason: an outcome, and no failed step', async () => {
  const steps = ['at: 1s, disable-key: k1, as: loss', 'at: 3s, snapshot: premium', 'at: 4s, attach: premium'];
  const more = ['at: 5s, rotate-key: second', 'at: 6s, snapshot: second', 'at: 20s, give-back: loss, start: true'];
  const record = await runSimulated(experimentOf([...steps, ...more]));
  assert.deepEqual(record.run.problems, []);
  assert.deepEqual(brokenIn(record), []);
  const refused = record.steps.flatMap(({ name, refused = [] }) => refused.map(({ reason }) => [name, reason]));
  assert.deepEqual(refused, [
    ['snapshot-premium', 'KEY_DISABLED'],
    ['attach-premium', 'KEY_DISABLED'],
  ]);
  const judged = record.guarantees.filter(({ subject }) => subject.includes('-premium') && !subject.includes('/'));
  assert.deepEqual(
    judged.map(({ rule, subject, holds }) => [rule, subject, holds]),
    refused.map(([name]) => ['G10', name, true]),
  );
});

test('CMK-38: a rotation of a set without an identity is refused, and no failed step', async () => {
  const steps = ['at: 1s, set-identity-none: k1, as: loss', 'at: 3s, rotate-key: k1', 'at: 20s, give-back: loss'];
  const record = await runSimulated(experimentOf(steps));
  assert.deepEqual([record.run.problems, brokenIn(record)], [[], []]);
  assert.deepEqual(
    record.steps.flatMap(({ name, refused = [] }) => refused.map(({ reason }) => [name, reason])),
    [['rotate-key-k1', 'IDENTITY_DELETED']],
  );
});
