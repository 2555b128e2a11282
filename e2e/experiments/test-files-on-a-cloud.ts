import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, type TestContext } from 'node:test';
import { type Experiment, type MachineRecord, readExperiment, verdictLines } from '@interlock/lab';
import { shortName } from '@interlock/lab/short-name';
import { momentMs } from '../chaos/chance.ts';
import { settled } from '../cloud/settled.ts';
import { type OwnCloud, ownCloud, withTelemetry } from '../cloud/test-cloud.ts';
import { existingCloudTarget } from './local/existing-cloud.ts';
import { ownCloudTarget } from './local/own-cloud.ts';
import { refusedFaults } from './local/part-faults.ts';
import { type FileRunResult, runFile, runUntilProof, thisRunner } from './run-file.ts';

const folder = new URL('files/', import.meta.url);
const ending = '.experiment.yaml';
/** Files that take most of a minute, with their own settings: they run in the simulation or in QEMU. */
const isWithOwnSettings = (name: string): boolean =>
  /^(friday|linux-in-qemu|no-events|every-cause|two-keys|cluster-)/.test(name);

/**
 * The one that no other test of real processes comes near: NATS is gone for longer than a lease while the disk host is paused. Others
 * kill services (e2e/scenarios), move clocks (e2e/azure/test-controls.test.ts) and take Postgres away.
 */
const inEveryRun = 'paused-disk';

/** One for each kind of fault. The others are the same faults for another part; the simulation plays them all. */
const inLongRuns: ReadonlySet<string> = new Set([
  'disk-encryption-set-is-down',
  'identity-ends-with-a-role',
  'key-vault-stays-down',
  'lost-twice-without-disk-encryption-set',
  'nats-is-down',
  'paused-compute',
  'postgres-is-killed',
  'the-clock-goes-forward',
  'the-disk-host-was-suspended',
  'the-disk-is-full',
]);

/** Whether `npm test` runs the file on real processes. */
export const isInEveryRun = (name: string): boolean => name === inEveryRun;

/** Whether only `npm run test:all` runs the file on real processes. `npm run chaos` runs those that neither does, too. */
export const isOnlyInLongRuns = (name: string): boolean =>
  inLongRuns.has(name) || (process.env.CHAOS_SEED !== undefined && !isInEveryRun(name) && !isWithOwnSettings(name));

interface ExperimentFile {
  readonly name: string;
  readonly text: string;
  readonly experiment: Experiment;
  readonly needsOwnCloud: boolean;
  /** Why this machine cannot run it; false if it can. */
  readonly skip: string | false;
}

const readFile = (name: string): ExperimentFile => {
  const text = readFileSync(new URL(name, folder), 'utf8');
  const read = readExperiment(text);
  assert.ok('experiment' in read, name);
  // With `npm run chaos` the seed decides where in the life of a lease the faults come.
  const laterMs = momentMs(name, { usualMs: 0, spreadMs: 2_000 });
  const timeline = read.experiment.timeline.map((step) => ({ ...step, atMs: step.atMs + laterMs }));
  const experiment = { ...read.experiment, timeline };
  const needsOwnCloud = refusedFaults(experiment.timeline, false).length > 0;
  const [refused] = needsOwnCloud ? refusedFaults(experiment.timeline, true) : [];
  return { name, text, experiment, needsOwnCloud, skip: refused?.message ?? false };
};

/** Machines that a key stopped more than once. */
const stoppedTwice = (machines: readonly MachineRecord[]): readonly string[] =>
  machines
    .filter(({ power }) => power.filter(({ state, reason }) => state === 'stopping' && reason !== '').length > 1)
    .map(({ name }) => shortName(name));

const outcomeOf = (
  { name, text, experiment, needsOwnCloud }: ExperimentFile,
  own: OwnCloud,
  t: TestContext,
): Promise<FileRunResult> => {
  const say = (line: string): void => t.diagnostic(line);
  return runUntilProof({ say, signal: t.signal }, (attempt) => {
    const id = `${name.split('.')[0]}-${attempt}`;
    return runFile({
      ...{ experiment, text, id, folder: own.data.path('experiments', id), signal: t.signal, say },
      place: { target: needsOwnCloud ? 'local' : 'existing', data: own.folder, runner: thisRunner() },
      target: needsOwnCloud
        ? ownCloudTarget(mkdtempSync(join(tmpdir(), 'interlock-x-')), { id, say })
        : existingCloudTarget(own.folder, { id, say }),
    });
  });
};

/** An experiment file, and the test that it holds on a cloud of real processes: no machine stops twice, no fact is parked. */
export interface FileOnACloud extends Pick<ExperimentFile, 'name' | 'skip'> {
  readonly holds: (t: TestContext) => Promise<void>;
}

/**
 * Reads experiment files, and starts one cloud for the test file that runs them.
 * @param isWanted by the name of the file without `.experiment.yaml`
 */
export const filesOnACloud = (isWanted: (name: string) => boolean): readonly FileOnACloud[] => {
  const files = readdirSync(folder)
    .filter((name) => name.endsWith(ending) && isWanted(name.slice(0, -ending.length)))
    .map(readFile);
  let own: OwnCloud;
  before(async () => {
    // One cloud for all files that do not need their own. They must agree on its settings, which the target checks.
    own = await ownCloud(Object.assign({}, withTelemetry, ...files.map(({ experiment }) => experiment.settings)));
  });
  after(() => own?.stop());
  const holds = async (file: ExperimentFile, t: TestContext): Promise<void> => {
    const { record, verdict } = await outcomeOf(file, own, t);
    assert.equal(verdict.outcome, 'held', verdictLines(verdict).join('\n'));
    assert.deepEqual(stoppedTwice(record.machines), []);
    if (!file.needsOwnCloud) await settled(own.clients);
  };
  return files.map((file) => ({ name: file.name, skip: file.skip, holds: (t) => holds(file, t) }));
};
