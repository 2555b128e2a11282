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

/** Runs the experiment on a cloud of processes. @param bug name of the program of compute with a planted bug; undefined: its own */
const runWith = async (bug: 'wrong-reason' | 'no-stop' | undefined): Promise<FileRunResult> => {
  const read = readExperiment(text);
  assert.ok('experiment' in read);
  const { experiment } = read;
  const data = mkdtempSync(join(tmpdir(), 'interlock-p-'));
  const evidence = mkdtempSync(join(tmpdir(), 'interlock-planted-'));
  const planted = fileURLToPath(new URL(`local/planted/${bug}.ts`, import.meta.url));
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
  const seen = seenIn(await runWith('wrong-reason'));
  assert.match(seen, /^violated: G10 [\s\S]*KEY_DELETED/);
});

test('on real processes, a stop by the user is not taken for one by the platform', async () => {
  const seen = seenIn(await runWith('no-stop'));
  assert.doesNotMatch(seen, /^held/);
  assert.match(seen, /by its user before the platform stopped it/);
});
