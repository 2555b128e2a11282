import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { type MachineRecord, readExperiment, shortName, type Verdict, verdictLines } from '@interlock/experiment';
import { openDataFolder } from '@interlock/local/data-folder.ts';
import { type LocalCloud, startLocalCloud } from '@interlock/local/local-cloud.ts';
import { removeServer } from '@interlock/local/unprivileged.ts';
import { settled } from '../chaos/facts.ts';
import { type Outside, openOutside } from '../cloud/clients.ts';
import { existingCloudTarget } from './local/existing-cloud.ts';
import { runFile } from './run-file.ts';

const folder = new URL('files/', import.meta.url);
/** The example of the documentation shows an experiment that its abort condition ends. */
const expected: Readonly<Record<string, Verdict['outcome']>> = { 'friday-17-00.experiment.yaml': 'aborted' };

const files = readdirSync(folder)
  .filter((name) => name.endsWith('.experiment.yaml'))
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

for (const { name, text, experiment } of files) {
  test(`CMK-107, G1, G2, G3, G5, G7: ${name}: the experiment ends as it should on a local cloud, each machine stops once, and no fact is parked`, async (t) => {
    const target = existingCloudTarget(data.root, {
      id: `x-${files.findIndex((one) => one.name === name)}`,
      say: (line) => t.diagnostic(line),
    });
    const { record, verdict } = await runFile({
      experiment,
      text,
      id: name,
      folder: data.path('experiments', name),
      place: { target: 'existing', data: data.root },
      target,
      signal: t.signal,
      say: (line) => t.diagnostic(line),
    });
    assert.equal(verdict.outcome, expected[name] ?? 'held', verdictLines(verdict).join('\n'));
    assert.deepEqual(stoppedTwice(record.machines), []);
    await settled(outside.administrator);
  });
}
