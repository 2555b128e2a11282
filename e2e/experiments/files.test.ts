import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { problemLines, readExperiment, settingNames, shortestMs, variableOfSetting } from '@interlock/experiment';
import { variableOf } from '@interlock/runtime';
import { specs } from '../docs/settings-page.ts';

const folder = new URL('files/', import.meta.url);

test('every experiment file of the repository is valid', () => {
  const files = readdirSync(folder).filter((name) => name.endsWith('.experiment.yaml'));
  assert.ok(files.length > 0);
  for (const name of files) {
    const read = readExperiment(readFileSync(new URL(name, folder), 'utf8'));
    assert.deepEqual('problems' in read ? problemLines(name, read.problems) : [], []);
  }
});

test('every setting of an experiment is a variable of a service, and its shortest duration is the one the service accepts', () => {
  const readers = new Map(
    Object.values(specs).flatMap((spec) => Object.entries(spec).map(([name, reader]) => [variableOf(name), reader])),
  );
  for (const name of settingNames) {
    const variable = variableOfSetting(name);
    const reader = readers.get(variable);
    assert.ok(reader !== undefined, variable);
    if (!variable.endsWith('_MS')) continue;
    const [, least] = /^a whole number from (\d+) to/.exec(reader.expected) ?? [];
    assert.equal(String(shortestMs[name] ?? 0), least, name);
  }
});
