import assert from 'node:assert/strict';
import { createPrivateKey, generateKeyPairSync } from 'node:crypto';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { until } from '../cloud/until.ts';
import { makeWorld, startAgain, untilPower, type World, type WorldOptions } from '../cloud/world.ts';
import { type Actions, judgeIo, type KeyLossWindow } from '../oracle/journal/guest-io.ts';
import { type History, readHistory } from '../oracle/journal/history.ts';
import { expectedPlaces, mismatches } from '../oracle/journal/records.ts';
import { judgeRecording } from '../oracle/recording/verdicts.ts';
import { readAsOwner, unwrapDek } from '../rehearsal/evidence/owner-key.ts';
import { findVolumes } from '../rehearsal/evidence/volume.ts';
import { momentMs } from './chance.ts';
import { type ChaosCloud, times } from './chaos-cloud.ts';
import { disabledAt, settled, stopsOf } from './facts.ts';
import { guestsEnd } from './guests.ts';
import { livelyOn, notFound } from './returned.ts';

/** A key, and machines of every kind that a loss of it tells apart. All names are full. */
export interface Trial {
  readonly world: World;
  /** Premium SSD under the key; Standard SSD under the key beside a disk of the platform. Both stop (CMK-100, CMK-103). */
  readonly stopping: readonly string[];
  /** Ultra disk under the key beside a disk of the platform: keeps running (CMK-102). */
  readonly ultra: string;
  /** No disk under the key. */
  readonly control: string;
  readonly disks: {
    /** Under the key, without a pin. */
    readonly lost: readonly string[];
    /** The ultra disk. */
    readonly pinned: readonly string[];
    /** Of machines that go on, the ultra one included; not under the key. */
    readonly beside: readonly string[];
  };
  /** Began then, in milliseconds since the epoch. */
  readonly since: number;
  history(): History;
}

/** Refusals that say nothing about keys: a guest that shuts down cancels, and a disk that was closed is not open. */
export const ending = ['CANCELLED', 'ATTACH_EPOCH_OUTDATED'];

/** What processes of a busy machine may add to a time that is promised, in milliseconds. Never added to the bound of I/O. */
export const slackMs = 15_000;

const privatePem = generateKeyPairSync('rsa', {
  modulusLength: 2048,
  publicKeyEncoding: { type: 'spki', format: 'pem' },
  privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
}).privateKey;

/** Of this process, so that each trial of a file has moments of its own. */
let trials = 0;

/**
 * Makes a trial, hands it to `run`, and afterwards takes back what was done to the cloud and ends the machines, also when
 * `run` failed.
 */
export const withTrial = async (
  chaos: ChaosCloud,
  run: (trial: Trial) => Promise<void>,
  request: WorldOptions = {},
): Promise<void> => {
  const since = Date.now();
  const { clients, guests } = chaos;
  const kinds = [['PREMIUM_SSD'], ['platform', 'STANDARD_SSD'], ['platform', 'ULTRA'], ['platform']] as const;
  const workload = { kind: 'WRITE_AND_VERIFY', ioPerSecond: 50, ioSizeBytes: 4_096 } as const;
  const world = await makeWorld(clients, kinds, { keyPem: privatePem, workload, ...request });
  const [premium = '', mixed = '', ultra = '', control = ''] = world.machines;
  const disk = (id: string): string => `${world.group}/disks/${id}`;
  const trial: Trial = {
    world,
    stopping: [premium, mixed],
    ultra,
    control,
    disks: {
      lost: [disk('vm0-d0'), disk('vm1-d1')],
      pinned: [disk('vm2-d1')],
      beside: [disk('vm2-d0'), disk('vm3-d0')],
    },
    since,
    history: () => readHistory(guests, world.machines),
  };
  let failure: { readonly error: unknown } | undefined;
  try {
    await atWork(trial, since, [...trial.disks.lost, ...trial.disks.pinned, ...trial.disks.beside]);
    // Where in the life of a lease the fault falls is left to chance in the long form.
    trials += 1;
    await sleep(momentMs(`trial ${trials}`, { usualMs: 0, spreadMs: times.leaseTtlMs }));
    await run(trial);
  } catch (error) {
    // Report the first error, not those of the end of a failed trial.
    failure = { error };
  }
  const ended = await retire(chaos, world.machines).then(
    () => undefined,
    (error: unknown) => ({ error }),
  );
  const toTell = failure ?? ended;
  if (toTell) throw toTell.error;
};

/** Takes back what was done to the cloud and ends the machines, also those in the middle of something. */
const retire = async (chaos: ChaosCloud, machines: readonly string[]): Promise<void> => {
  await chaos.heal();
  const deallocate = (name: string) =>
    until(`${name} takes its end`, async () => Boolean(await chaos.clients.compute.deallocateVirtualMachine({ name })));
  await Promise.all(machines.map(deallocate));
  await guestsEnd(chaos.guests, machines, 30_000);
};

/** Waits until each of these disks of a trial has done good work that was invoked after a time. */
export const atWork = (trial: Trial, from: number, disks: readonly string[]): Promise<boolean> =>
  livelyOn(trial.history, from, disks);

/** Disables the key. @returns the time of the commit, as key-vault stored it */
export const disableKey = async ({ clients, cloud }: ChaosCloud, { world }: Trial): Promise<number> => {
  await clients.keyVault.disableKeyVersion({ name: world.keyVersion });
  return disabledAt(cloud, world.keyVersion);
};

/** A loss of the trial's key with the reason KEY_DISABLED, or KEY_VAULT_UNREACHABLE while the vault could not be called. */
export const lossOf = ({ disks }: Trial, t0: number, change: Partial<KeyLossWindow> = {}): KeyLossWindow => ({
  t0,
  boundMs: times.leaseTtlMs,
  disks: disks.lost,
  reasons: ['KEY_DISABLED', 'KEY_VAULT_UNREACHABLE'],
  ...change,
});

/** I/O that the loss must not disturb: on disks of other keys and on the pinned one. */
export const besides = ({ disks }: Trial, from: number, to: number, gapMsMax = 1_500) => ({
  disks: [...disks.beside, ...disks.pinned],
  from,
  to,
  gapMsMax,
});

/** Judges what the guests recorded, and says in the test's output what it measured. */
export const assertPromiseHeld = (test: TestContext, trial: Trial, actions: Actions): void => {
  const history = trial.history().filter(({ invokedAt }) => invokedAt >= trial.since);
  const verdict = judgeIo(history, { otherReasons: ending, ...actions });
  const { lastGoodMs, refused, inHand } = verdict;
  const [{ boundMs } = { boundMs: 0 }] = actions.losses;
  test.diagnostic(
    `${history.length} operations; last good one at t0 ${lastGoodMs < 0 ? '-' : '+'} ${Math.abs(lastGoodMs)} ms (bound ${boundMs}); ${refused} refused; ${inHand} in hand`,
  );
  assert.deepEqual(verdict.violations.slice(0, 5), []);
};

/** Waits for the guests' end and for the reason on the machines; each must have stopped once. @returns ms from t0 to the last guest's end */
export const machinesStop = async (
  chaos: ChaosCloud,
  trial: Trial,
  { t0, withinMs, reason = 'KEY_DISABLED' }: { t0: number; withinMs: number; reason?: string },
): Promise<number> => {
  const ended = await guestsEnd(chaos.guests, trial.stopping, Math.max(0, t0 + withinMs + slackMs - Date.now()));
  for (const name of trial.stopping) {
    const { stopReason } = await untilPower(chaos.clients, name, 'STOPPED');
    assert.equal(stopReason?.reason, reason, name);
  }
  return Math.max(...ended.values()) - t0;
};

/**
 * Once everything has settled: no consumer lags, nothing is parked, each machine stopped once, the others never (G2, G3, G7), and
 * the oracle finds no violation in the events of the cloud so far.
 */
export const assertStoppedOnce = async (
  chaos: ChaosCloud,
  trial: Trial,
  machines: readonly string[] = trial.stopping,
): Promise<void> => {
  await settled(chaos.clients);
  const stops = await stopsOf(chaos.cloud, trial.world.machines, trial.since);
  for (const name of trial.world.machines) {
    const count = machines.includes(name) ? 1 : 0;
    assert.deepEqual(stops.get(name), { stopping: count, stopped: count }, name);
  }
  const recording = await chaos.recording(slackMs);
  const verdicts = recording === undefined ? [] : judgeRecording(recording);
  assert.deepEqual(
    verdicts.filter(({ holds }) => !holds),
    [],
  );
};

/**
 * The key comes back: what was acknowledged lies on the disks, by the owner's own key and the disks' files; the machines
 * start, their guests find all they wrote, and work again (G5).
 * @param giveBack by default the key is enabled
 */
export const assertComesBack = async (
  chaos: ChaosCloud,
  trial: Trial,
  machines: readonly string[] = trial.stopping,
  giveBack: () => Promise<unknown> = () => chaos.clients.keyVault.enableKeyVersion({ name: trial.world.keyVersion }),
): Promise<void> => {
  assert.ok((await wrongPlaces(chaos, trial)) === 0, 'every acknowledged record lies on the disks');
  const from = Date.now();
  await giveBack();
  await startAgain(chaos.clients, trial.world.set, machines);
  const disks = [...trial.disks.lost, ...(machines.includes(trial.ultra) ? trial.disks.pinned : [])];
  await atWork(trial, from, disks);
  assert.deepEqual(notFound(trial.history(), from, disks), [], 'guests find all they wrote');
};

/** Places of the lost disks that hold none of what may be there, read with the owner's key from the files alone. */
const wrongPlaces = async ({ clients, volumes }: ChaosCloud, trial: Trial): Promise<number> => {
  const key = createPrivateKey(privatePem);
  const found = findVolumes(volumes);
  const history = trial.history();
  let places = 0;
  let wrong = 0;
  for (const name of trial.disks.lost) {
    const volume = found.get((await clients.disks.getDisk({ name })).uniqueId);
    if (volume === undefined) throw new Error(`${name} has no files`);
    const dek = unwrapDek(key, volume.header);
    for (const place of expectedPlaces(history, name)) {
      places += 1;
      wrong += mismatches(name, place, readAsOwner(volume, dek, place.offset, place.length));
    }
    dek.fill(0);
  }
  assert.ok(places > 0, 'the guests wrote something');
  return wrong;
};
