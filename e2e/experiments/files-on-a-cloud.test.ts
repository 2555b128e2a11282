import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, type TestContext, test } from 'node:test';
import { type MachineRecord, readExperiment, shortName, verdictLines } from '@interlock/experiment';
import { momentMs } from '../chaos/chance.ts';
import { settled } from '../cloud/settled.ts';
import { type OwnCloud, ownCloud } from '../cloud/test-cloud.ts';
import { existingCloudTarget } from './local/existing-cloud.ts';
import { ownCloudTarget } from './local/own-cloud.ts';
import { refusedFaults } from './local/part-faults.ts';
import { type FileRunResult, runFile, thisRunner } from './run-file.ts';

const folder = new URL('files/', import.meta.url);
/** Files that take most of a minute, with their own settings: they run in the simulation or in QEMU. */
const isLong = (name: string): boolean => /^(friday|linux-in-qemu|no-events|every-cause|two-keys)/.test(name);

/** Variants of other files for another part of the cloud. `npm run chaos` runs them. */
const isVariant = (name: string): boolean =>
  /^(paused-(compute|identity|disk-encryption-set)|lost-twice-without-disk|the-clock-goes-forward)\b/.test(name);

/** How often to run a file whose steps came too late on a busy machine, or after Postgres was gone: such a run proves nothing. */
const attempts = 3;

const files = readdirSync(folder)
  .filter((name) => name.endsWith('.experiment.yaml') && !isLong(name))
  .filter((name) => !isVariant(name) || process.env.CHAOS_SEED !== undefined)
  .map((name) => {
    const text = readFileSync(new URL(name, folder), 'utf8');
    const read = readExperiment(text);
    assert.ok('experiment' in read, name);
    // In the long form (npm run chaos) the seed decides where in the life of a lease the faults come.
    const laterMs = momentMs(name, { usualMs: 0, spreadMs: 2_000 });
    const timeline = read.experiment.timeline.map((step) => ({ ...step, atMs: step.atMs + laterMs }));
    const experiment = { ...read.experiment, timeline };
    return { name, text, experiment, needsOwnCloud: refusedFaults(experiment.timeline, false).length > 0 };
  });

let own: OwnCloud;
before(async () => {
  // One cloud for all files that do not need their own. They must agree on its settings, which the target checks.
  own = await ownCloud(Object.assign({}, ...files.map(({ experiment }) => experiment.settings)));
});
after(() => own?.stop());

/** Machines that a key stopped more than once. */
const stoppedTwice = (machines: readonly MachineRecord[]): readonly string[] =>
  machines
    .filter(({ power }) => power.filter(({ state, reason }) => state === 'stopping' && reason !== '').length > 1)
    .map(({ name }) => shortName(name));

/** Runs a file, and repeats it if its steps came too late. */
const outcomeOf = async (
  { name, text, experiment, needsOwnCloud }: (typeof files)[number],
  t: TestContext,
): Promise<FileRunResult> => {
  const say = (line: string): void => t.diagnostic(line);
  for (let attempt = 1; ; attempt += 1) {
    const id = `${name.split('.')[0]}-${attempt}`;
    const result = await runFile({
      experiment,
      text,
      id,
      folder: own.data.path('experiments', id),
      place: { target: needsOwnCloud ? 'local' : 'existing', data: own.folder, runner: thisRunner() },
      target: needsOwnCloud
        ? ownCloudTarget(mkdtempSync(join(tmpdir(), 'interlock-x-')), { id, say })
        : existingCloudTarget(own.folder, { id, say }),
      signal: t.signal,
      say,
    });
    const { outcome, problems } = result.verdict;
    const isLate =
      outcome === 'inconclusive' &&
      problems.every((problem) => /ms late|store of this service did not answer/.test(problem));
    if (!isLate || attempt === attempts) return result;
  }
};

for (const file of files) {
  test(`CMK-26, CMK-102, CMK-104, CMK-107, G1, G2, G3, G4, G5, G7, G10: ${file.name}: the experiment holds on a local cloud, each machine stops once, and no fact is parked`, async (t) => {
    const { record, verdict } = await outcomeOf(file, t);
    assert.equal(verdict.outcome, 'held', verdictLines(verdict).join('\n'));
    assert.deepEqual(stoppedTwice(record.machines), []);
    if (!file.needsOwnCloud) await settled(own.clients);
  });
}
