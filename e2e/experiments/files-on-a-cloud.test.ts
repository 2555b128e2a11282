import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, type TestContext, test } from 'node:test';
import { type MachineRecord, readExperiment, shortName, verdictLines } from '@interlock/experiment';
import { openDataFolder } from '@interlock/local/data-folder.ts';
import { type LocalCloud, startLocalCloud } from '@interlock/local/local-cloud.ts';
import { removeServer } from '@interlock/local/unprivileged.ts';
import { settled } from '../chaos/facts.ts';
import { type Outside, openOutside } from '../cloud/clients.ts';
import { existingCloudTarget } from './local/existing-cloud.ts';
import { type FileRunResult, runFile, thisRunner } from './run-file.ts';

const folder = new URL('files/', import.meta.url);
/** Files that wait for most of a minute, with settings of their own: they run in the simulation or in QEMU. */
const isLong = (name: string): boolean => /^(friday|linux-in-qemu|no-events|every-cause|two-keys)/.test(name);

/** How often a file runs whose steps came too late on a busy machine: such a run says nothing. */
const attempts = 3;

const files = readdirSync(folder)
  .filter((name) => name.endsWith('.experiment.yaml') && !isLong(name))
  .map((name) => {
    const text = readFileSync(new URL(name, folder), 'utf8');
    const read = readExperiment(text);
    assert.ok('experiment' in read, name);
    return { name, text, experiment: read.experiment };
  });

const data = openDataFolder(mkdtempSync(join(tmpdir(), 'interlock-files-')));
let cloud: LocalCloud;
let outside: Outside;
before(async () => {
  // Servers from outside belong to others: they must not be killed.
  const { DATABASE_URL: _, NATS_URL: __, ...env } = process.env;
  // One cloud for all files: they must agree on its settings, which the target checks.
  const settings = Object.assign({}, ...files.map(({ experiment }) => experiment.settings));
  cloud = await startLocalCloud({ data, env, settings });
  outside = openOutside(cloud);
});
after(async () => {
  outside?.close();
  await cloud?.stop();
  removeServer(data);
  rmSync(data.root, { recursive: true });
});

/** Machines that were stopped more than once because of a key. */
const stoppedTwice = (machines: readonly MachineRecord[]): readonly string[] =>
  machines
    .filter(({ power }) => power.filter(({ state, reason }) => state === 'stopping' && reason !== '').length > 1)
    .map(({ name }) => shortName(name));

/** Runs a file, again if its steps came too late. */
const outcomeOf = async (
  { name, text, experiment }: (typeof files)[number],
  t: TestContext,
): Promise<FileRunResult> => {
  const say = (line: string): void => t.diagnostic(line);
  for (let attempt = 1; ; attempt += 1) {
    const id = `${name.split('.')[0]}-${attempt}`;
    const result = await runFile({
      experiment,
      text,
      id,
      folder: data.path('experiments', id),
      place: { target: 'existing', data: data.root, runner: thisRunner() },
      target: existingCloudTarget(data.root, { id, say }),
      signal: t.signal,
      say,
    });
    const { outcome, problems } = result.verdict;
    const isLate = outcome === 'inconclusive' && problems.every((problem) => /ms late/.test(problem));
    if (!isLate || attempt === attempts) return result;
  }
};

for (const file of files) {
  test(`CMK-107, G1, G2, G3, G5, G7: ${file.name}: the experiment holds on a local cloud, each machine stops once, and no fact is parked`, async (t) => {
    const { record, verdict } = await outcomeOf(file, t);
    assert.equal(verdict.outcome, 'held', verdictLines(verdict).join('\n'));
    assert.deepEqual(stoppedTwice(record.machines), []);
    await settled(outside.administrator);
  });
}
