import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { readExperiment } from '@interlock/lab';
import { entryOf, type ServiceName } from '@interlock/local/services.ts';
import { ownCloudTarget } from './local/own-cloud.ts';
import { type FileRunResult, runFile, thisRunner } from './run-file.ts';

const text = readFileSync(new URL('simulated/mutants/files/user-stops.experiment.yaml', import.meta.url), 'utf8');
const planted = fileURLToPath(new URL('local/planted/main.ts', import.meta.url));

/** Runs the experiment on a cloud of processes whose compute has a planted bug; undefined: none. */
const runWith = async (bug: string | undefined): Promise<FileRunResult> => {
  const read = readExperiment(text);
  assert.ok('experiment' in read);
  const { experiment } = read;
  const data = mkdtempSync(join(tmpdir(), 'interlock-p-'));
  const evidence = mkdtempSync(join(tmpdir(), 'interlock-planted-'));
  if (bug !== undefined) process.env.PLANTED_BUG = bug;
  const entry =
    bug === undefined ? entryOf : (service: ServiceName) => (service === 'compute' ? planted : entryOf(service));
  try {
    return await runFile({
      ...{ experiment, text, id: 'planted', folder: evidence, signal: new AbortController().signal },
      place: { target: 'local', data, runner: thisRunner() },
      target: ownCloudTarget(data, { id: 'planted', say: () => undefined, entry }),
      say: () => undefined,
    });
  } finally {
    rmSync(evidence, { recursive: true });
  }
};

const seenIn = ({ verdict: { outcome, because, rules, problems } }: FileRunResult): string =>
  [
    `${outcome}: ${because}`,
    ...problems,
    ...rules.filter(({ result }) => result !== 'held').map(({ text: rule, seen }) => `${rule}: ${seen}`),
  ].join('\n');

test('without a planted bug, the experiment holds on real processes', async () => {
  const seen = seenIn(await runWith(undefined));
  assert.match(seen, /^held/);
});

test('G10: on real processes, the planted bug that every stop names a deleted key is found', async () => {
  const seen = seenIn(await runWith('every stop names a deleted key'));
  assert.match(seen, /^violated: G10 [\s\S]*KEY_DELETED/);
});

test('on real processes, a stop by the user is not taken for one by the platform', async () => {
  const seen = seenIn(await runWith('a lost key stops no machine that runs'));
  assert.doesNotMatch(seen, /^held/);
  assert.match(seen, /by its user before the platform stopped it/);
});
