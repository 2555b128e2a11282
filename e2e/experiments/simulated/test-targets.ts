import assert from 'node:assert/strict';
import { type Experiment, type FaultKind, faults, isUndoable } from '@interlock/lab';
import { faultParts, isFault } from './faults.ts';
import { brokenIn, experimentOf, machineOf, runSimulated } from './test-runs.ts';

/** The time within which machines stop after a loss that no fault delays, in milliseconds. A date takes effect in the next second. */
export const stopMs = 500;

/** Ways to take the key of the premium machine away. */
export const losses = [
  'disable-key: premium',
  'delete-key: premium',
  'expire-key: premium',
  'not-yet-valid: premium',
  'remove-policy: premium',
  'remove-permission: premium, permission: get',
  'remove-permission: premium, permission: wrap',
  'remove-permission: premium, permission: unwrap',
  'remove-role: premium',
  'delete-identity: premium',
  'set-identity-none: premium',
  'delete-vault: premium',
  'switch-permission-model: premium',
];

/** Plays a loss and its end; fails unless it stops the machine under the key, and no ultra one, until access is restored. */
export const stopsUntilReturned = async (loss: string): Promise<void> => {
  const record = await runSimulated(
    experimentOf([`at: 1s, ${loss}, as: loss`, 'at: 20s, give-back: loss, start: true']),
  );
  assert.deepEqual(record.run.problems, []);
  assert.deepEqual(brokenIn(record), []);
  const [taken, given] = record.steps;
  const t0 = taken?.effectMs ?? Number.NaN;
  assert.ok(t0 >= (taken?.invokedMs ?? Number.NaN) && t0 <= (taken?.invokedMs ?? 0) + 1_001, 't0 is that of the owner');
  assert.equal(taken?.keyVersions?.length, 1);
  const { power, disks } = machineOf(record, 'premium');
  assert.deepEqual(
    disks.map(({ keyVersion }) => keyVersion),
    taken?.keyVersions,
  );
  const stopped = power.find(({ state }) => state === 'stopped');
  assert.ok(stopped && stopped.atMs >= t0 && stopped.atMs <= t0 + stopMs, 'stopped after the loss');
  assert.notEqual(stopped.reason, '');
  const back = power.at(-1);
  assert.ok(back?.state === 'running' && back.atMs >= (given?.effectMs ?? Number.NaN));
  for (const group of ['ultra', 'second']) {
    assert.deepEqual(
      machineOf(record, group).power.map(({ state }) => state),
      ['starting', 'running'],
    );
  }
  const premium = record.io.filter(({ machine }) => machine === machineOf(record, 'premium').name);
  assert.ok(premium.some(({ ok, completedMs }) => ok && completedMs < t0));
  assert.ok(premium.some(({ ok, invokedMs }) => ok && invokedMs > (back?.atMs ?? 0)));
  assert.ok(record.sightings.some(({ see, subject }) => see === 'unwrap-refused' && subject === disks[0]?.keyVersion));
  assert.equal(record.content.bytesLost, 0);
  assert.ok(record.content.bytesCompared > 100_000);
};

/** Chosen targets, and each other fault of the table on the first part that it can affect. */
const chosen = [
  'kill: key-vault',
  'kill: identity',
  'kill: disk-encryption-set',
  'kill: disk',
  'kill: compute',
  'kill: nats',
  'kill: postgres',
  'pause: key-vault',
  'pause: disk',
  'pause: compute',
  'slow: key-vault, by: 500ms',
  'cut: [disk, key-vault]',
  'cut: [compute, nats]',
  'cut: [disk, postgres]',
  'shift-clock: key-vault, by: 3s',
  'fill-storage: disk',
  'fail-storage: disk',
  'fail-storage: postgres',
];

const others = Object.entries(faults).flatMap(([name, kind]: readonly [string, FaultKind]) => {
  if (!isFault(name) || chosen.some((step) => step.startsWith(`${name}:`))) return [];
  return [`${name}: ${faultParts[name][0]}${kind.options?.by === undefined ? '' : ', by: 500ms'}`];
});

/** The same steps with each fault of a simulated cloud. */
export const everyFault: readonly string[] = [...chosen, ...others];

/** Disables a key while a fault lasts; fails if a rule is broken, a machine stays as it is, or a byte is lost. */
export const holdsDuring = async (fault: string): Promise<void> => {
  const lasting = isUndoable(fault.split(':')[0] ?? '') ? ', for: 12s' : '';
  const record = await runSimulated(
    experimentOf([
      `at: 0s, ${fault}${lasting}`,
      'at: 1s, disable-key: premium, as: loss',
      'at: 30s, give-back: loss, start: true',
    ]),
  );
  assert.deepEqual(record.run.problems, []);
  assert.deepEqual(brokenIn(record), []);
  assert.equal(
    machineOf(record, 'premium').power.some(({ state }) => state === 'stopped'),
    true,
  );
  assert.equal(machineOf(record, 'premium').power.at(-1)?.state, 'running');
  assert.equal(record.content.bytesLost, 0);
};

/** An experiment in a cloud of three disk hosts. */
export const withHosts = (timeline: readonly string[]): Experiment =>
  experimentOf(timeline, '', '{ leaseTtl: 4s, authzTtl: 1s, hostLeaseTtl: 5s }', 3);

/** A fault of each kind on one of three disk hosts. */
export const ofHosts = [
  'kill: { disk-host-of: premium }',
  'pause: { disk-host-of: premium }',
  'slow: { disk-host-of: premium }, by: 500ms',
  'cut: [{ disk-host-of: premium }, disk]',
  'cut: [{ disk-host-of: premium }, postgres]',
  'cut: [nats, { disk-host-of: premium }]',
  'shift-clock: { disk-host-of: premium }, by: 3s',
  'fill-storage: { disk-host-of: premium }',
  'kill: postgres',
];

/** The same as `holdsDuring`, with three disk hosts. */
export const holdsWithHostsDuring = async (fault: string): Promise<void> => {
  const record = await runSimulated(
    withHosts([
      `at: 0s, ${fault}, for: 12s`,
      'at: 1s, disable-key: premium, as: loss',
      'at: 30s, give-back: loss, start: true',
    ]),
  );
  assert.deepEqual(record.run.problems, []);
  assert.deepEqual(brokenIn(record), []);
  assert.equal(record.content.bytesLost, 0);
  assert.ok(machineOf(record, 'premium').power.some(({ state }) => state === 'stopped'));
  const [step] = record.steps;
  if (fault !== 'kill: postgres')
    assert.match(step?.hosts?.join() ?? '', /^disk-host-[012]$/, 'the record names the host');
};
