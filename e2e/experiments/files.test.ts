import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import {
  actionNames,
  defaultMs,
  exitCodes,
  problemLines,
  quantityNames,
  readExperiment,
  sectionNames,
  settingNames,
  shortestMs,
  variableOfSetting,
} from '@interlock/lab';
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

test('every setting of an experiment is a variable of a service, with the same smallest duration', () => {
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

test('the lab knows the defaults of the services', () => {
  const readers = new Map(Object.values(specs).flatMap((spec) => Object.entries(spec)));
  for (const [name, ms] of Object.entries(defaultMs))
    assert.deepEqual(readers.get(`${name}Ms`)?.read(undefined), { ok: true, value: ms }, name);
});

test('the how-to page shows the example file, and names every section, action, quantity and outcome', () => {
  const page = readFileSync(new URL('../../docs/how-to/write-an-experiment.md', import.meta.url), 'utf8');
  const example = readFileSync(new URL('friday-17-00.experiment.yaml', folder), 'utf8').replace(/^#.*\n/, '');
  assert.ok(page.includes(`\`\`\`yaml\n${example}\`\`\``), 'the example differs from the file');
  const inCode = new Set([...page.matchAll(/`([^`\n]+)`/g)].flatMap(([, code = '']) => code.split(/[^\w-]+/)));
  const missing = [...sectionNames, ...actionNames, ...quantityNames, ...Object.keys(exitCodes)].filter(
    (name) => !inCode.has(name) && !page.includes(`\n${name}:`),
  );
  assert.deepEqual(missing, []);
  for (const [outcome, code] of Object.entries(exitCodes))
    assert.ok(page.includes(`| \`${outcome}\` | ${code} |`), outcome);
});
